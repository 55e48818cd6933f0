"""Server-sent events out of bytes, however they are split: pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from collections.abc import Iterator

from agentbatch.record import record

_BOM = b"\xef\xbb\xbf"


@record
class SseEvent:
    """One event. `data` is as it came: UTF-8 if the server keeps to the specification."""

    data: bytes
    name: str = "message"


class SseParser:
    """Feed it the chunks of a stream in order. What follows the last blank line is no event, as the source says.

    The fields `id` and `retry` are for reconnecting, which nobody does here: they are skipped.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[SseEvent]:
        """The events that `chunk` completes."""
        for piece in self._without_lf_of_crlf(chunk).splitlines(keepends=True):  # of bytes: at CR, LF, CRLF only
            self._pieces.append(piece)
            if piece.endswith((b"\r", b"\n")):
                line = b"".join(self._pieces).rstrip(b"\r\n")
                self._pieces.clear()
                yield from self._take(line)

    def _without_lf_of_crlf(self, chunk: bytes) -> bytes:
        """A CR at the end of a chunk has ended its line already: the LF that the next one begins with belongs to it."""
        if not chunk:
            return chunk
        rest = chunk[1:] if self._after_cr and chunk.startswith(b"\n") else chunk
        self._after_cr = chunk.endswith(b"\r")
        return rest

    def _take(self, line: bytes) -> Iterator[SseEvent]:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            yield from self._dispatch()
            return
        field, _, value = line.partition(b":")  # a comment has an empty field
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _dispatch(self) -> Iterator[SseEvent]:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if data:
            yield SseEvent(b"\n".join(data), name or "message")
