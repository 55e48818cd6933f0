"""The events of a streamed message, put together to the message.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from agentbatch.models.json_answer import mapping, sequence, text

_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
"""Kinds of deltas, and the key that holds their piece of text."""


class MessageAssembly:
    """An `Assembly` of the events `message_start` to `message_stop`. Kinds of events it does not know are skipped."""

    def __init__(self) -> None:
        self.begun = False
        self.whole = False
        self.over = False
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def take(self, frame: Mapping[str, Any], name: str) -> None:
        """Add one event."""
        match frame.get("type"):
            case "message_start":
                self._message.update(mapping(frame.get("message")))
                self._count(self._message.get("usage"))
            case "content_block_start":
                self._blocks[_index(frame)] = dict(mapping(frame.get("content_block")))
                self.begun = True
            case "content_block_delta":
                self._extend(_index(frame), mapping(frame.get("delta")))
                self.begun = True
            case "message_delta":
                self._message.update(mapping(frame.get("delta")))
                self._count(frame.get("usage"))
            case "message_stop":
                self.whole = self.over = True
            case _:
                pass

    def _extend(self, index: int, delta: Mapping[str, Any]) -> None:
        key = _PIECES.get(text(delta.get("type")))
        if key is not None:
            self._blocks.setdefault(index, {"type": "text"})
            self._pieces.setdefault((index, key), []).append(text(delta.get(key)))
        elif citation := delta.get("citation"):
            block = self._blocks.setdefault(index, {"type": "text"})
            block["citations"] = [*sequence(block.get("citations")), citation]

    def _count(self, usage: Any) -> None:
        """Counts are of the whole message so far: later ones replace earlier ones."""
        self._usage |= {key: value for key, value in mapping(usage).items() if value is not None}

    def done(self) -> None:
        """No word of this dialect; `message_stop` is."""

    def answer(self) -> dict[str, Any]:
        """The message."""
        for (index, key), pieces in self._pieces.items():
            block = self._blocks[index]
            if key == "partial_json":
                block["input"] = _input("".join(pieces), block.get("input"))
            else:
                block[key] = text(block.get(key)) + "".join(pieces)
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return {**self._message, "content": blocks, "usage": self._usage}


def _index(frame: Mapping[str, Any]) -> int:
    index = frame.get("index")
    return index if isinstance(index, int) else 0


def _input(written: str, at_start: Any) -> Any:
    """A tool's arguments: parsed, or as the model wrote them if that is no JSON."""
    if not written:
        return at_start
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError:
        return written
