"""The results file, line by line: what is no result, what is torn, whose result stands there twice."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agentbatch.doctor.cutting import Cut, cut_out
from agentbatch.doctor.finding import Checkup, Finding, told_briefly
from agentbatch.record import record
from agentbatch.results.scan import ForeignLine, TornLine, could_be_ours, fingerprint, result_of_line
from agentbatch.text.figures import counted

_BEGINNING = b'{"id":'
_MOST_PIECES = 50
_SUCCESSES = frozenset({"ok", "skipped"})


class ResultsReading:
    """One reading of a results file; while a run writes it (`running`), its end is not yet what it will be.

    Attributes:
        statuses: items by the status in their last line.
        lines: result lines.
        highest: the highest index of an item; -1 where there is none.
    """

    def __init__(self, path: Path, *, running: bool = False, on_result: Callable[[dict[str, Any]], None]) -> None:
        self.path = path
        self.lines = 0
        self._running = running
        self._on_result = on_result
        self._places = _Places()
        self._offset = 0
        self._ended = True
        self._torn: list[tuple[Cut, str]] = []
        """Lines that are no JSON, with no good one after them so far."""
        self._damaged: list[tuple[Cut, str]] = []
        self._doubled: list[tuple[Cut, Finding]] = []
        self._strangers: list[Finding] = []
        self._start = b""

    @property
    def statuses(self) -> Counter[str]:
        return self._places.statuses()

    @property
    def highest(self) -> int:
        return self._places.highest

    def read(self) -> Checkup:
        """Look at every line.

        Raises:
            OSError: it can't be read.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                self._look(number, line)
                self._offset += len(line)
        foreign = (self._torn and not could_be_ours(self._start)) or (self._damaged and not self._start)
        if not self.lines and foreign:
            return Checkup((self._foreign(),))
        return self._checkup()

    def _look(self, number: int, line: bytes) -> None:
        try:
            fields = result_of_line(line)
        except TornLine as error:
            if not self._torn and not self._damaged and not self.lines:
                self._start = line[: len(_BEGINNING)]
            self._torn.append((Cut(number, self._offset, len(line), whole_results_in(line)), str(error)))
            return
        except ForeignLine as error:
            self._torn_is_damage()
            self._damaged.append((Cut(number, self._offset, len(line)), str(error)))
            return
        if fields is not None:
            self._torn_is_damage()
            self._enter(number, line, fields)

    def _torn_is_damage(self) -> None:
        self._damaged += self._torn
        self._torn = []

    def _enter(self, number: int, line: bytes, fields: dict[str, Any]) -> None:
        self.lines += 1
        self._ended = line.endswith(b"\n")
        self._on_result(fields)
        before = self._places.put(fields, _Place(number, self._offset, len(line)))
        if before is None:
            return
        if before.id != fingerprint(fields["id"]):
            self._strangers.append(self._stranger(number, before.place.number, fields))
        elif before.status in _SUCCESSES:
            cut = Cut(before.place.number, before.place.offset, before.place.length)
            self._doubled.append((cut, self._double(number, before.place.number, fields)))

    def _checkup(self) -> Checkup:
        findings = [*self._strangers]
        findings += told_briefly([self._damage(cut, reason) for cut, reason in self._damaged])
        findings += told_briefly([finding for _, finding in self._doubled])
        cuts = [cut for cut, _ in (*self._damaged, *self._doubled)]
        end_line = False
        if not self._running and self._torn:
            first, reason = self._torn[0]
            findings.append(self._torn_end(first, reason))
            cuts.append(Cut(first.number, first.offset, self._offset - first.offset))
        elif not self._running and not self._ended:
            findings.append(self._unended())
            end_line = True
        mend = partial(cut_out, self.path, cuts, end_line=end_line) if cuts or end_line else None
        return Checkup(tuple(findings), mend)

    def _damage(self, cut: Cut, reason: str) -> Finding:
        kept = cut.kept.count(b"\n")
        again = "its item runs again" if not kept else f"{kept} whole results in it stay, what else it held runs again"
        return Finding(
            self.path,
            cut.number,
            f"damaged, and not by an interrupted write: {reason}",
            "a run refuses to go on behind it, for what was lost there nobody can tell",
            f"cut out and kept aside; {again}",
            mendable=True,
        )

    def _torn_end(self, cut: Cut, reason: str) -> Finding:
        return Finding(
            self.path,
            cut.number,
            f"the last {counted(self._offset - cut.offset, 'byte is', 'bytes are')} torn: {reason}",
            "a crash, a full disk or a power cut broke off the last write; nothing committed is in it",
            "cut off and kept aside; the next run does so by itself",
            mendable=True,
        )

    def _unended(self) -> Finding:
        return Finding(
            self.path,
            None,
            "its last line is whole, but has no newline",
            "its item counts; other programs may glue a line to it",
            "ended with a newline; the next run does so by itself",
            mendable=True,
        )

    def _double(self, number: int, before: int, fields: dict[str, Any]) -> Finding:
        return Finding(
            self.path,
            number,
            f"item {fields['id']!r} has a result here, though that of line {before} was a success",
            "the last one counts, and the cost of both does: lines were copied, or two programs wrote the file",
            f"line {before} cut out and kept aside",
            mendable=True,
        )

    def _stranger(self, number: int, before: int, fields: dict[str, Any]) -> Finding:
        return Finding(
            self.path,
            number,
            f"item {fields['id']!r} has index {fields['index']}, as another item in line {before} has",
            "results of different inputs stand in one file: a run refuses it, or takes one item's result for another's",
            "keep the lines that belong to your inputs; agentbatch can't tell which those are",
        )

    def _foreign(self) -> Finding:
        return Finding(
            self.path,
            1,
            f"is no results file of agentbatch ({(self._torn or self._damaged)[0][1]})",
            "a run refuses to write into it",
            "name the file that a run wrote, or another --output",
        )


def whole_results_in(line: bytes) -> bytes:
    """The whole results in a line that is none: behind a torn one, behind NUL bytes, around a lost newline.

    Only at its end, which is the end of a write, and before that: what an answer may quote is never taken for a result.
    """
    if not line.endswith(b"}\n"):
        return b""
    start = line.find(_BEGINNING)
    for _ in range(_MOST_PIECES):
        if start < 0:
            return b""
        if _is_result(line[start:]):
            before = line[:start].strip(b"\0")
            return (before + b"\n" if _is_result(before) else b"") + line[start:]
        start = line.find(_BEGINNING, start + 1)
    return b""


def _is_result(line: bytes) -> bool:
    try:
        fields = result_of_line(line)
    except (TornLine, ForeignLine):
        return False
    return fields is not None and "trace_id" in fields and "output" in fields


@record
class _Place:
    number: int
    offset: int
    length: int


@record
class _Before:
    id: int
    status: str
    place: _Place


class _Places:
    """Where each item's last line stands."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._names: list[str] = []
        self._states = bytearray()
        self._ids, self._numbers, self._lengths = array("I"), array("I"), array("I")
        self._offsets = array("Q")

    @property
    def highest(self) -> int:
        return max(self._slots, default=-1)

    def put(self, fields: dict[str, Any], place: _Place) -> _Before | None:
        """Enter a line; returns what stood there."""
        slot = self._slots.get(fields["index"])
        before = None
        if slot is not None:
            old = _Place(self._numbers[slot], self._offsets[slot], self._lengths[slot])
            before = _Before(self._ids[slot], self._names[self._states[slot]], old)
        self._slots[fields["index"]] = len(self._states)
        self._states.append(self._state(fields["status"]))
        self._ids.append(fingerprint(fields["id"]))
        self._numbers.append(place.number)
        self._offsets.append(place.offset)
        self._lengths.append(place.length)
        return before

    def statuses(self) -> Counter[str]:
        """Items by their last status."""
        return Counter(self._names[self._states[slot]] for slot in self._slots.values())

    def _state(self, status: str) -> int:
        if status not in self._names:
            self._names.append(status)
        return self._names.index(status)
