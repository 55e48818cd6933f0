"""The pieces of a streamed `generateContent`, put together to the one answer.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.models.json_answer import mapping, sequence


class ContentAssembly:
    """An `Assembly` of pieces that each look like an answer. The last one says why the model stopped."""

    def __init__(self) -> None:
        self.begun = False
        self.whole = False
        self.over = False
        self._answer: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []

    def take(self, frame: Mapping[str, Any], name: str) -> None:
        """Add one piece. Counts in it are of the whole answer so far."""
        self._answer.update(frame)
        for candidate in map(mapping, sequence(frame.get("candidates"))[:1]):
            self._candidate.update(candidate)
            for part in map(mapping, sequence(mapping(candidate.get("content")).get("parts"))):
                self._add(dict(part))
                self.begun = True
            self.whole = self.whole or bool(candidate.get("finishReason"))
        if mapping(frame.get("promptFeedback")).get("blockReason"):
            self.whole = True  # there will be no candidate

    def _add(self, part: dict[str, Any]) -> None:
        """Texts that follow each other are one part, unless one of them is signed: its signature stays with it."""
        last = self._parts[-1] if self._parts else {}
        plain = {"text", "thought"}
        if last and part.keys() <= plain and last.keys() <= plain and part.get("thought") == last.get("thought"):
            last["text"] = f"{last.get('text', '')}{part.get('text', '')}"
        else:
            self._parts.append(part)

    def done(self) -> None:
        """No word of this API; but some servers that imitate it say so."""
        self.over = True

    def answer(self) -> dict[str, Any]:
        """The answer as it would have come at once."""
        if not self._candidate:
            return self._answer
        content = {**mapping(self._candidate.get("content")), "parts": self._parts}
        return {**self._answer, "candidates": [{**self._candidate, "content": content}]}
