"""Which paid calls have begun and are not safely kept yet, so that a continued run can say what it paid twice.

A call is entered just before it is sent and leaves when its item's result line is on disk. The table lies in shared
memory (`/dev/shm`): it outlives the process however that ends, costs a tenth of a microsecond an entry, and no disk can
keep anybody waiting for it. It does not outlive the machine, or the container: then nothing is known, and nothing is
claimed.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agentbatch.record import record

SHARED_MEMORY = Path("/dev/shm")
"""It outlives the process, and is gone when the machine or the container is."""

_MAGIC = b"agbbegn2"
_HEADER = struct.Struct("<8s16sQQQQd")
_SLOT = struct.Struct("<QQ")
_PATH_AT = 128
_HEADER_BYTES = 4096
"""What tells the run, its sums, and from `_PATH_AT` on the path of its results."""
_FIRST_SLOTS = 1024


@record
class PaidTwice:
    """What was made again because an earlier run ended before it was kept, summed over all runs of one output.

    Attributes:
        calls: model calls that a run had sent, and a later one had to make again.
        answered: how many of these had been answered, so surely paid; the others were under way, and may have been.
        cost_usd: US dollars for making them again, as far as prices are known.
        unpriced: how many of them have no known price.
        works: tool calls, commands and functions that were done again.
    """

    calls: int = 0
    answered: int = 0
    unpriced: int = 0
    works: int = 0
    cost_usd: float = 0.0


class BegunCalls:
    """The table of one output. Use on the event loop; one run at a time (the output's lock sees to that).

    Raises:
        OSError: from `open_table`, where there is no shared memory or no room in it.
    """

    def __init__(self, path: Path, file: int, identity: bytes) -> None:
        self.path = path
        self._file = file
        self._memory = mmap.mmap(file, os.fstat(file).st_size)
        self._identity = identity
        self._of_item: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._before: dict[tuple[int, int], tuple[int, int]] = {}
        """How often earlier runs had sent a call, and how often it had been answered."""
        self._sums = self._read()

    @property
    def items(self) -> list[int]:
        """The indexes of items that stand in it."""
        return list(self._of_item)

    @property
    def paid_twice(self) -> PaidTwice:
        """What was made again so far."""
        return self._sums

    def call(self, item: int, path: str, number: int, *, work: bool = False) -> BegunCall:
        """A handle for the call in this place of the run; it has not begun."""
        place = zlib.crc32(path.encode()) << 32 | number & 0xFFFF_FFFF
        return BegunCall(self, item, place, work)

    def forget(self, items: Iterable[int]) -> None:
        """These items' result lines are on disk."""
        for item in items:
            for slot in self._of_item.pop(item, ()):
                if self._before:
                    self._before.pop((item, _SLOT.unpack_from(self._memory, slot)[1]), None)
                self._clear(slot)

    def close(self, *, complete: bool) -> None:
        """Leave the table for the next run, or, where everything is done, take it away."""
        self._memory.close()
        if complete:
            self.path.unlink(missing_ok=True)
        else:
            os.utime(self._file)
        os.close(self._file)

    def begin(self, item: int, place: int) -> int:
        """Enter a call; returns its slot, where it stands until its item is forgotten. 0: there is no room."""
        if not self._free and not self._grow():
            return 0
        slot = self._free.pop()
        _SLOT.pack_into(self._memory, slot, item << 1, place)
        self._of_item.setdefault(item, []).append(slot)
        return slot

    def take_back(self, item: int, slot: int) -> None:
        """The call in this slot was refused, and so not paid."""
        self._of_item[item].remove(slot)
        self._clear(slot)

    def answered(self, item: int, place: int, slot: int, cost_usd: float | None, work: bool) -> None:
        """The call in this slot was answered; how often earlier runs had sent it, so often it was paid in vain."""
        _SLOT.pack_into(self._memory, slot, item << 1 | 1, place)
        before = self._before.pop((item, place), None) if self._before else None
        if before is None:
            return
        (sent, answered), sums = before, self._sums
        if work:
            self._sums = replace(sums, works=sums.works + sent)
        else:
            self._sums = PaidTwice(
                sums.calls + sent,
                sums.answered + answered,
                sums.unpriced + (sent if cost_usd is None else 0),
                sums.works,
                sums.cost_usd + sent * (cost_usd or 0.0),
            )
        self._write_sums()
        self._settle(item, place, slot)

    def _settle(self, item: int, place: int, slot: int) -> None:
        """What earlier runs had sent of this call has been counted: should this answer be lost, too, it alone is."""
        for other in list(self._of_item[item]):
            if other != slot and _SLOT.unpack_from(self._memory, other)[1] == place:
                self.take_back(item, other)

    def _clear(self, slot: int) -> None:
        _SLOT.pack_into(self._memory, slot, 0, 0)
        self._free.append(slot)

    def _grow(self) -> bool:
        size = len(self._memory)
        try:
            os.posix_fallocate(self._file, size, size)
            self._memory.resize(2 * size)
        except (OSError, SystemError):
            return False
        self._free.extend(range(size, 2 * size, _SLOT.size))
        return True

    def _read(self) -> PaidTwice:
        """The sums, and what an earlier run left in the slots."""
        for slot in range(_HEADER_BYTES, len(self._memory), _SLOT.size):
            entry, place = _SLOT.unpack_from(self._memory, slot)
            if entry or place:
                self._of_item.setdefault(entry >> 1, []).append(slot)
                sent, answered = self._before.get((entry >> 1, place), (0, 0))
                self._before[entry >> 1, place] = sent + 1, answered + (entry & 1)
            else:
                self._free.append(slot)
        _, _, calls, answered, unpriced, works, cost = _HEADER.unpack_from(self._memory)
        return PaidTwice(calls, answered, unpriced, works, cost)

    def _write_sums(self) -> None:
        sums = self._sums
        counts = sums.calls, sums.answered, sums.unpriced, sums.works, sums.cost_usd
        _HEADER.pack_into(self._memory, 0, _MAGIC, self._identity, *counts)


class BegunCall:
    """One call, from before it is sent until it is answered."""

    __slots__ = ("_item", "_place", "_slot", "_table", "_work")

    def __init__(self, table: BegunCalls, item: int, place: int, work: bool) -> None:
        self._table = table
        self._item = item
        self._place = place
        self._work = work
        self._slot = 0

    def sent(self) -> None:
        """It goes out now."""
        if not self._slot:
            self._slot = self._table.begin(self._item, self._place)

    def refused(self) -> None:
        """It was turned down in a way that nobody is billed for."""
        if self._slot:
            self._table.take_back(self._item, self._slot)
            self._slot = 0

    def answered(self, cost_usd: float | None) -> None:
        """It was answered, for so many US dollars; None where that is not known."""
        if self._slot:
            self._table.answered(self._item, self._place, self._slot, cost_usd, self._work)


def open_table(results: Path, header: bytes, *, fresh: bool, folder: Path = SHARED_MEMORY) -> tuple[BegunCalls, bool]:
    """The table of an output, and whether it is known what earlier runs had begun.

    Args:
        results: the results file.
        header: what of its run header tells its run from another at the same path.
        fresh: no earlier run is continued.
        folder: of shared memory.

    Raises:
        OSError: there is none, or no room in it, or somebody else's file stands there.
    """
    path = table_path(results, folder)
    identity = hashlib.blake2b(header, digest_size=16).digest()
    file = -1
    while file < 0:
        file = _open_held(path)
    try:
        known = fresh or _is_of(file, identity)
        if fresh or not known:
            _begin(file, identity, results.resolve())
        os.utime(file)
        if os.fstat(file).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to somebody else")
        return BegunCalls(path, file, identity), known
    except BaseException:
        os.close(file)
        raise


def _open_held(path: Path) -> int:
    """A descriptor with a lock that tells it is in use, for as long as it is open; -1 where the file was removed in
    between as stale."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.path.samestat(os.fstat(file), path.stat()):
            return file
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return -1


def results_of(file: int) -> Path | None:
    """The results that an open table belongs to; None where it does not say."""
    head = os.pread(file, _HEADER_BYTES, 0)
    if not head.startswith(_MAGIC):
        return None
    path = head[_PATH_AT:].partition(b"\0")[0]
    return Path(os.fsdecode(path)) if path else None


def table_path(results: Path, folder: Path = SHARED_MEMORY) -> Path:
    """Where the table of these results stands, while their run is not complete."""
    name = hashlib.blake2b(os.fsencode(results.resolve()), digest_size=12).hexdigest()
    return folder / f"{table_prefix()}{name}"


def table_prefix() -> str:
    """How the names of all of this user's tables begin."""
    return f"agentbatch-{os.geteuid()}-"


def _is_of(file: int, identity: bytes) -> bool:
    head = os.pread(file, _HEADER.size, 0)
    size = os.fstat(file).st_size
    whole = size > _HEADER_BYTES and (size - _HEADER_BYTES) % _SLOT.size == 0
    return whole and len(head) == _HEADER.size and _HEADER.unpack(head)[:2] == (_MAGIC, identity)


def _begin(file: int, identity: bytes, results: Path) -> None:
    """An empty table; its memory is taken at once, for a store into memory that is not there kills the process."""
    os.ftruncate(file, 0)
    try:
        os.posix_fallocate(file, 0, _HEADER_BYTES + _FIRST_SLOTS * _SLOT.size)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, 0)
        raise
    os.pwrite(file, _HEADER.pack(_MAGIC, identity, 0, 0, 0, 0, 0.0), 0)
    path = os.fsencode(results)
    if len(path) < _HEADER_BYTES - _PATH_AT:
        os.pwrite(file, path, _PATH_AT)
