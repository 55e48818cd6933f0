"""One output has one run at a time: a kernel lock, held for the whole run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol

from agentbatch.errors import LockedError, OutputError
from agentbatch.files.filesystems import is_network
from agentbatch.record import record

_HINT_BYTES = 4096


class OutputLock:
    """`flock` on `<output>.lock`, a file of its own (a POSIX lock would vanish at any `close` of the output).

    The kernel decides who holds it: it lets go when the holder dies, however that happens. The text in the file (pid,
    host, boot id, start) is a hint for people, and a stale one blocks nobody. Children don't keep the lock: an `exec`
    closes it, and so does a `fork` of this process. Symbolic links are followed first, so that two names of one output
    have one lock. Should somebody delete the lock file, the lock on the output itself still tells (`hold_output`).

    Use as a context manager, or `acquire` and `release`.

    Raises:
        LockedError: another run holds the output; the message says which.
        OutputError: the lock file can't be made.
    """

    def __init__(self, output: Path) -> None:
        self._output = output.resolve()
        self.path = Path(f"{self._output}.lock")
        self._fd = -1
        self._since = ""

    def __enter__(self) -> OutputLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, or say who has it. Never waits."""
        try:
            while self._fd < 0:
                self._fd = self._try()
            self._refuse_other_host()
            self._refuse_while_written()
            self._since = datetime.now(UTC).isoformat(timespec="seconds")
            self._write_hint()
        except OSError as error:
            self._close()
            raise OutputError(f"{self.path}: cannot lock the output: {error.strerror}") from error
        close_after_fork(self)

    def tell(self, **facts: object) -> None:
        """Write beside who holds the lock what the run is about, for those who watch it. Never fails a run."""
        with suppress(OSError):
            self._write_hint(facts)

    def release(self) -> None:
        """Remove the file and let go. Does nothing where the lock is not held."""
        if self._fd < 0:
            return
        # removed while it is still held: whoever waits on this inode finds, once it has it, that it is no longer the
        # path's, and tries again
        try:
            if self._is_current(self._fd):
                self.path.unlink()
        except OSError:
            pass  # the file may stay: only its lock counts
        self._close()

    def forget(self) -> None:
        """In a forked child: close the descriptor. The parent keeps the lock."""
        self._close()

    def _try(self) -> int:
        """A locked descriptor, or -1 where the file was removed in between."""
        # no link is followed: what it leads to would be written over
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current(fd):
                return fd
        except BlockingIOError:
            holder = _describe(os.pread(fd, _HINT_BYTES, 0))
            os.close(fd)
            raise LockedError(
                f"{self.path}: another run holds this output: {holder}; wait for it, stop it, or name another --output"
            ) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return -1

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.lstat())
        except FileNotFoundError:
            return False

    def _refuse_other_host(self) -> None:
        """On a network folder the kernel may not see the locks of other hosts; there the hint counts."""
        left = _read_hint(os.pread(self._fd, _HINT_BYTES, 0))
        host = left.get("host")
        if host in (None, socket.gethostname()) or not is_network(self.path.parent):
            return
        self._close()
        raise LockedError(
            f"{self.path}: a run on another host may hold this output: {_describe_fields(left)}; "
            "if it is not alive, delete that file"
        )

    def _refuse_while_written(self) -> None:
        """Somebody may have deleted the lock file of a run that goes on."""
        try:
            fd = os.open(self._output, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # there is no output yet, or what stops it from being read is told by those who read it
        try:
            hold_output(fd, self._output)
        except LockedError:
            self._close()
            raise
        finally:
            os.close(fd)

    def _write_hint(self, facts: Mapping[str, object] = MappingProxyType({})) -> None:
        hint = {
            **facts,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot_id": _boot_id(),
            "started_at": self._since,
        }
        text = json.dumps(hint, default=str).encode()[: _HINT_BYTES - 1] + b"\n"
        os.pwrite(self._fd, text, 0)  # first, so that whoever reads meanwhile finds no empty file
        os.ftruncate(self._fd, len(text))

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@record
class Holder:
    """Who holds an output, as its lock file says.

    Attributes:
        started_at: when it took the lock: ISO 8601.
        facts: what else it says.
    """

    pid: int
    host: str
    started_at: str
    facts: Mapping[str, object] = field(compare=False)


def read_holder(output: Path) -> Holder | None:
    """Who holds the output now; None where nobody does. Looks only: the lock is not touched, so no run is hindered.

    Of a run on another host it is only known that it has not let go: its lock file is there.
    """
    try:
        hint = _read_hint(Path(f"{output.resolve()}.lock").read_bytes())
    except OSError:
        return None
    pid = hint.get("pid")
    if not isinstance(pid, int) or (_is_here(hint) and not _is_alive(pid)):
        return None
    return Holder(pid, str(hint.get("host")), str(hint.get("started_at")), hint)


def _is_here(hint: Mapping[str, object]) -> bool:
    return hint.get("host") == socket.gethostname()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended, and only its parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def hold_output(fd: int, output: Path) -> None:
    """Lock the output itself, for as long as its descriptor is open: for when its lock file is not there any more.

    Raises:
        LockedError: another run writes to it.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{output}: another run writes to it, though its lock file was deleted; wait for it, stop it, or name"
            " another --output"
        ) from None
    except OSError:
        pass  # a file system without locks: there the lock file has to do


class Forgetful(Protocol):
    """What holds a descriptor with a lock on it."""

    def forget(self) -> None:
        """In a forked child: close the descriptor. The parent keeps the lock."""
        ...


def close_after_fork(lock: Forgetful) -> None:
    """A forked worker shares the descriptor, and with it the lock, beyond its parent's death: have it closed there."""
    held = weakref.ref(lock)

    def forget() -> None:
        found = held()
        if found is not None:
            found.forget()

    os.register_at_fork(after_in_child=forget)


def _read_hint(text: bytes) -> dict[str, object]:
    try:
        hint: object = json.loads(text)
    except ValueError:
        return {}
    return {str(key): value for key, value in hint.items()} if isinstance(hint, dict) else {}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _describe(text: bytes) -> str:
    return _describe_fields(_read_hint(text))


def _describe_fields(hint: dict[str, object]) -> str:
    if not hint:
        return "a process that has not said its name yet"
    return f"pid {hint.get('pid')} on {hint.get('host')}, since {hint.get('started_at')}"


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
