"""One output has one run at a time: a kernel lock, held for the whole run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import weakref
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from agentbatch.errors import LockedError, OutputError
from agentbatch.files.filesystems import is_network

_HINT_BYTES = 4096


class OutputLock:
    """`flock` on `<output>.lock`, a file of its own (a POSIX lock would vanish at any `close` of the output).

    The kernel decides who holds it: it lets go when the holder dies, however that happens. The text in the file (pid,
    host, boot id, start) is a hint for people, and a stale one blocks nobody. Children don't keep the lock: an `exec`
    closes it, and so does a `fork` of this process. Symbolic links are followed first, so that two names of one output
    have one lock.

    Use as a context manager, or `acquire` and `release`.

    Raises:
        LockedError: another run holds the output; the message says which.
        OutputError: the lock file can't be made.
    """

    def __init__(self, output: Path) -> None:
        self.path = Path(f"{output.resolve()}.lock")
        self._fd = -1

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
            self._write_hint()
        except OSError as error:
            self._close()
            raise OutputError(f"{self.path}: cannot lock the output: {error.strerror}") from error
        _close_after_fork(self)

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
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
            return os.path.samestat(os.fstat(fd), self.path.stat())
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

    def _write_hint(self) -> None:
        hint = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot_id": _boot_id(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(hint).encode() + b"\n", 0)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _close_after_fork(lock: OutputLock) -> None:
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
