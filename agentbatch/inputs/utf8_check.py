"""Which lines of the inputs are no UTF-8: they are read all the same, with what can't be read replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentbatch.text.figures import counted

_LONGEST = 16 * 1024 * 1024
"""A longer line is not looked at: it is an error of its own."""


@dataclass(slots=True)
class Utf8Check:
    """Is given all bytes in pieces of any size, and counts."""

    lines: int = 0
    """Lines with bytes that are no UTF-8."""
    first: int = 0
    """The number of the first of them, from 1."""
    _before: int = 0
    """Lines that were looked at."""
    _rest: bytearray = field(default_factory=bytearray)
    """The line that has begun and not ended."""
    _too_long: bool = False
    """Whether that line is longer than is looked at."""

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            if self._too_long:  # of that line nothing is left but that it was one
                whole = whole[whole.index(b"\n") :] if b"\n" in whole else b""
            self._look(b"".join((self._rest, whole)))
            self._rest, self._too_long = bytearray(), False
        if not self._too_long:
            self._rest += rest
        if len(self._rest) > _LONGEST:
            self._rest, self._too_long = bytearray(), True

    def end(self) -> None:
        """There are no more: the last line may lack its newline."""
        if self._rest:
            self._look(bytes(self._rest))
            self._rest = bytearray()

    def note(self, name: str) -> str | None:
        """What a person should know of the inputs called `name`; None where all is well."""
        if not self.lines:
            return None
        wrong = counted(self.lines, "line is not UTF-8", "lines are not UTF-8")
        return (
            f"{name}: {wrong}, the first of them line {self.first}: what can't be read there became U+FFFD; "
            "convert the file first, as with: iconv -f LATIN1 -t UTF-8"
        )

    def _look(self, lines: bytes) -> None:
        if not _is_utf8(lines):
            bad = [place for place, line in enumerate(lines.split(b"\n"), self._before + 1) if not _is_utf8(line)]
            self.lines += len(bad)
            self.first = self.first or bad[0]
        self._before += lines.count(b"\n") + 1


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
