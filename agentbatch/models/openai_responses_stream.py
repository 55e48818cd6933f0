"""The events of a streamed response, put together to the response.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.models.json_answer import mapping, text

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponseAssembly:
    """An `Assembly` of `response.*` events. The last of them holds the whole response."""

    def __init__(self) -> None:
        self.begun = False
        self.whole = False
        self.over = False
        self._response: dict[str, Any] = {}
        self._items: dict[int, Any] = {}

    def take(self, frame: Mapping[str, Any], name: str) -> None:
        """Add one event."""
        kind = text(frame.get("type")) or name
        if kind.endswith(".delta"):
            self.begun = True
        elif kind == "response.output_item.done":
            self.begun = True
            index = frame.get("output_index")
            self._items[index if isinstance(index, int) else len(self._items)] = frame.get("item")
        elif kind in _LAST:
            self._response.update(mapping(frame.get("response")))
            self.whole = self.over = True

    def done(self) -> None:
        """No word of this API; but some servers that imitate it say so."""
        self.over = True

    def answer(self) -> dict[str, Any]:
        """The response; its items as they came one by one, where a server leaves them out at the end."""
        if self._response.get("output") or not self._items:
            return self._response
        return {**self._response, "output": [self._items[index] for index in sorted(self._items)]}
