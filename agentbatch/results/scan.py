"""What a results file says is finished, and the healing of the end a crash left."""

from __future__ import annotations

import os
import shlex
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import orjson

from agentbatch.errors import InputError, OutputError
from agentbatch.items import Status
from agentbatch.messages import Usage
from agentbatch.step import POSSIBLY_BILLED
from agentbatch.text.figures import counted

_CODES: dict[Status, int] = {"ok": 1, "error": 2, "timeout": 3, "cancelled": 4, "skipped": 5}
_STATUSES: tuple[Status | None, ...] = (None, *_CODES)
_SUCCESSES = frozenset({_CODES["ok"], _CODES["skipped"]})
_ID_TYPES = (str, int)
_NUMBER_TYPES = (int, float)
_INDEX_BOUND = 2**31
_BEGINNING = b'{"id":'
_MEND = "give the inputs it was made from, another --output, or --overwrite"


class TornLine(ValueError):
    """The line is no JSON, as a crash may leave it."""


class ForeignLine(ValueError):
    """The line is whole, but no result: no crash explains that."""


@dataclass(slots=True)
class Finished:
    """What a results file holds, in five bytes an item whatever the file's size.

    The last line of an item is the one that counts for its status. `cost_usd` and `usage` are the sums over all lines:
    what an item's superseded lines cost was paid too. `possibly_billed_usd` is what may be billed on top, at most.

    Attributes:
        states: per index 0 for an item still to do, otherwise a code of its status.
        lines: result lines read.
        unpriced: lines whose cost is unknown.
        healed_bytes: what was cut from the end: a line that a crash tore.
    """

    path: Path
    states: bytearray = field(default_factory=bytearray)
    ids: array[int] = field(default_factory=lambda: array("I"))
    lines: int = 0
    cost_usd: float = 0.0
    possibly_billed_usd: float = 0.0
    unpriced: int = 0
    usage: Usage = Usage()
    healed_bytes: int = 0

    def is_done(self, item_id: str | int, index: int, retry_failed: bool = False) -> bool:
        """Whether the item needs no run: it has a line, and with `retry_failed` a line of success.

        Raises:
            InputError: the results have another id at this index, so they belong to other inputs.
        """
        code = self.states[index] if index < len(self.states) else 0
        if code == 0:
            return False
        if self.ids[index] != fingerprint(item_id):
            raise InputError(
                f"{self.path}: belongs to other inputs: at index {index} it has another id than {item_id!r}; {_MEND}"
            )
        return not retry_failed or code in _SUCCESSES

    def status_of(self, index: int) -> Status | None:
        """The status in the item's last line; None for an item still to do."""
        return _STATUSES[self.states[index]] if index < len(self.states) else None

    def counts(self, indexes: Iterable[int] | None = None) -> dict[Status, int]:
        """Items by status: all of them, or those at these indexes."""
        states = self.states
        if isinstance(indexes, range):
            states = states[indexes.start : indexes.stop]
        elif indexes is not None:
            states = bytes(states[index] for index in indexes if index < len(states))
        return {status: states.count(code) for status, code in _CODES.items() if code in states}

    @property
    def done(self) -> int:
        """Items that have a line."""
        return len(self.states) - self.states.count(0)

    def make_room(self, items: int) -> None:
        """Have a place for each of that many items, at least."""
        more = items - len(self.states)
        if more > 0:
            self.states.extend(bytes(more))
            self.ids.extend(array("I", [0]) * more)


def scan_results(path: Path, total: int | None = None, *, heal: bool = True) -> Finished:
    """Read an existing results file, and heal its end where a crash tore it. Hold the output's lock around this.

    A file that does not exist is one where nothing is finished. Bytes after the last good line that are no JSON are
    what an interrupted write leaves: they are cut off. A last line that lacks only its newline gets it. Everything else
    that is no result line is damage that a crash does not explain, and leaves the file as it is. (RocksDB has the same
    rule, kTolerateCorruptedTailRecords.)

    Args:
        total: how many items the inputs have, where known.
        heal: False leaves a torn end as it is: what is finished is the same.

    Raises:
        InputError: the file is damaged, is no results file, or belongs to other inputs.
        OutputError: it can't be read or healed.
    """
    scan = _Scan(path, total)
    try:
        with path.open("rb") as file:
            for line in file:
                scan.read(line)
            size = os.fstat(file.fileno()).st_size
        scan.finished.usage = Usage(**scan.tokens)
        _refuse_foreign(scan)
        if heal:
            _heal(scan, size)
    except FileNotFoundError:
        return scan.finished
    except OSError as error:
        raise OutputError(f"{path}: cannot be read and healed: {error.strerror or error}") from error
    return scan.finished


class _Scan:
    """The state of one reading: what is good up to where, and the first bad line after that."""

    def __init__(self, path: Path, total: int | None) -> None:
        self.path = path
        self.total = total
        self.finished = Finished(path)
        self.finished.make_room(total or 0)
        self.tokens = asdict(Usage())
        self.number = 0
        self.good_end = 0
        """The file is good up to this offset."""
        self.ended = True
        """Whether the last good line had its newline."""
        self.torn: tuple[int, str] | None = None
        """The first line after that, and what is wrong with it."""
        self.torn_start = b""

    def read(self, line: bytes) -> None:
        self.number += 1
        try:
            result = result_of_line(line)
        except TornLine as error:
            if self.torn is None:
                self.torn, self.torn_start = (self.number, str(error)), line[: len(_BEGINNING)]
            return
        except ForeignLine as error:
            raise _damage(self.path, self.number, str(error)) from error
        if result is not None:
            if self.torn is not None:
                raise _damage(self.path, *self.torn)
            self._enter(result)
        if self.torn is None:
            self.good_end += len(line)
            self.ended = line.endswith(b"\n")

    def _enter(self, result: dict[str, Any]) -> None:
        finished = self.finished
        index: int = result["index"]
        if index >= len(finished.states):
            if self.total is not None:
                raise InputError(
                    f"{self.path}:{self.number}: belongs to other inputs: its index is {index}, "
                    f"but they have only {counted(self.total, 'item')}; {_MEND}"
                )
            finished.make_room(index + 1 + index // 8)
        finished.states[index] = _CODES[result["status"]]
        finished.ids[index] = fingerprint(result["id"])
        finished.lines += 1
        cost = result.get("cost_usd")
        if cost is None:
            finished.unpriced += 1
        else:
            finished.cost_usd += cost
        risk = result.get(POSSIBLY_BILLED)
        if isinstance(risk, int | float):
            finished.possibly_billed_usd += risk
        usage: dict[str, Any] | None = result.get("usage")
        if usage:
            self._add_tokens(usage)

    def _add_tokens(self, usage: dict[str, Any]) -> None:
        tokens = self.tokens
        for name, count in usage.items():
            if name in tokens and type(count) is int:
                tokens[name] += count


def result_of_line(line: bytes) -> dict[str, Any] | None:
    """A result line's fields; None for a blank line.

    Raises:
        TornLine: it is no JSON.
        ForeignLine: it is JSON, but no result.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return None
        raise TornLine(f"not JSON: {error.msg}") from error
    if type(value) is dict:
        result = cast(dict[str, Any], value)
        if _is_result(result):
            return result
    if not line.endswith(b"\n"):
        raise TornLine("not a whole result")
    raise ForeignLine("is JSON, but no result of agentbatch")


def _is_result(fields: dict[str, Any]) -> bool:
    index, status = fields.get("index"), fields.get("status")
    cost, usage = fields.get("cost_usd"), fields.get("usage")
    return (
        type(index) is int
        and 0 <= index < _INDEX_BOUND
        and type(status) is str
        and status in _CODES
        and type(fields.get("id")) in _ID_TYPES
        and (cost is None or type(cost) in _NUMBER_TYPES)
        and (usage is None or type(usage) is dict)
    )


def _refuse_foreign(scan: _Scan) -> None:
    if scan.torn is not None and scan.finished.lines == 0 and not could_be_ours(scan.torn_start):
        raise InputError(f"{scan.path}: is no results file of agentbatch ({scan.torn[1]}); name another --output")


def _heal(scan: _Scan, size: int) -> None:
    """Cut what is torn off the end, or end the last line. The file is not touched where there is nothing to heal."""
    if scan.torn is not None:
        with scan.path.open("r+b") as file:
            file.truncate(scan.good_end)
            os.fsync(file.fileno())
        scan.finished.healed_bytes = size - scan.good_end
    if not scan.ended:
        with scan.path.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())


def could_be_ours(start: bytes) -> bool:
    """Whether a file without one good line begins as a torn first result does: cut, or filled with NUL."""
    return _BEGINNING.startswith(start) or not start.strip(b"\0")


def _damage(path: Path, number: int, reason: str) -> InputError:
    name = shlex.quote(str(path))
    return InputError(
        f"{path}:{number}: damaged, and not by an interrupted write: {reason}. Nothing was changed. See all that is "
        f"wrong with `agentbatch doctor {name}`; with --repair it puts such lines aside, and their items run again"
    )


def fingerprint(item_id: str | int) -> int:
    """What stands for an id where there are a million of them: 32 bits."""
    return crc32(str(item_id).encode("utf-8", "surrogatepass"))
