"""The file of shared limits: read, changed and written under a kernel lock, by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import orjson

from agentbatch.sharing.books import Books, Lease, PlaceBook, RateBook

_VERSION = 1


class BooksFile:
    """Blocks while another process has the lock, or the disk hangs: use it in a thread.

    Raises:
        OSError: from `changing`, when it can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = _boot_id()

    @contextmanager
    def changing(self) -> Generator[Books]:
        """The books, which are written back at the end. What a crash or a stranger left of them is begun anew."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            books = self._read(file)
            books.forget([holder for holder, (pid, begun) in books.holders.items() if begun_at(pid) != begun])
            yield books
            data = orjson.dumps({"version": _VERSION, "boot": self._boot, **asdict(books)})
            os.pwrite(file, data + b"\n", 0)
            os.ftruncate(file, len(data) + 1)
        finally:
            os.close(file)  # which also ends the lock

    def _read(self, file: int) -> Books:
        try:
            value = cast("dict[str, Any]", orjson.loads(os.pread(file, os.fstat(file).st_size, 0).partition(b"\n")[0]))
            if value["boot"] != self._boot or value["version"] != _VERSION:
                return Books()
            rates = {
                name: RateBook(
                    each["next_at"], each["numbers"], [Lease(**lease) for lease in each["leases"]], each["wanted_at"]
                )
                for name, each in value["rates"].items()
            }
            places = {name: PlaceBook(**each) for name, each in value["places"].items()}
            return Books(rates, places, {name: (pid, begun) for name, (pid, begun) in value["holders"].items()})
        except (ValueError, KeyError, TypeError):
            return Books()


def begun_at(pid: int) -> str:
    """What tells a process from another that has, had or will have its pid; empty where there is none.

    From proc(5): the 22nd field of `stat`, the time it began, in clock ticks since the machine did.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
    except IndexError:
        return ""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
