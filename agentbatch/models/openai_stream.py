"""The chunks of a streamed chat completion, put together to the completion.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from agentbatch.models.json_answer import mapping, sequence, text


@dataclass(slots=True)
class _Call:
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class CompletionAssembly:
    """An `Assembly` of `chat.completion.chunk` events. Only the first choice is read: none asks for more."""

    def __init__(self) -> None:
        self.begun = False
        self.whole = False
        self.over = False
        self._texts: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._details: list[Any] = []
        self._calls: list[_Call] = []
        self._by_index: dict[Any, _Call] = {}
        self._finish: str | None = None
        self._usage: Any = None
        self._model = ""

    def take(self, frame: Mapping[str, Any], name: str) -> None:
        """Add one chunk. Usage comes in the last, which has no choices."""
        self._model = text(frame.get("model")) or self._model
        self._usage = frame.get("usage") or self._usage
        for choice in map(mapping, sequence(frame.get("choices"))):
            if choice.get("index", 0) == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
        delta = mapping(choice.get("delta"))
        for key, pieces in self._texts.items():
            if piece := text(delta.get(key)):
                pieces.append(piece)
                self.begun = True
        self._details += sequence(delta.get("reasoning_details"))
        for call in map(mapping, sequence(delta.get("tool_calls"))):
            self._take_call(call)
            self.begun = True
        if finish := text(choice.get("finish_reason")):
            self._finish = finish
            self.whole = True

    def _take_call(self, delta: Mapping[str, Any]) -> None:
        """Pieces of one call have its index; some servers leave it out, or give every call the same."""
        function = mapping(delta.get("function"))
        call_id, name, arguments = text(delta.get("id")), text(function.get("name")), function.get("arguments")
        index = delta.get("index")
        call = self._by_index.get(index)
        if call is None or (name and call_id and call_id != call.id):
            call = self._by_index[index] = _Call(call_id)
            self._calls.append(call)
        call.name = call.name or name
        if arguments:
            call.arguments.append(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())

    def done(self) -> None:
        """Some servers give no reason why the model stopped: then this is the end of what it wrote, if it wrote."""
        self.over = True
        self.whole = self.whole or self.begun

    def answer(self) -> dict[str, Any]:
        """The completion."""
        message: dict[str, Any] = {key: "".join(pieces) for key, pieces in self._texts.items()}
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": "".join(call.arguments) or "{}"}}
            for call in self._calls
        ]
        return {
            "model": self._model,
            "choices": [
                {
                    "message": {**message, "tool_calls": calls, "reasoning_details": self._details},
                    "finish_reason": self._finish,
                }
            ],
            "usage": self._usage,
        }
