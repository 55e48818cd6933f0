"""Where a run's control socket stands, however long the path to it is.

The kernel takes 107 bytes of path for a socket (unix(7)). A longer one is reached by way of a descriptor of its folder,
`/proc/self/fd/9/x.results.ctl`; a name that is too long even so gives way to a hash of it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_MOST_BYTES = 100
_LONGEST_NAME = 60


def socket_path(results: Path) -> Path:
    """The control socket of the run that writes these results: `x.results.ctl`."""
    results = results.resolve()
    name = f"{results.stem}.ctl"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}.ctl"
    return results.with_name(name)


def listen(path: Path) -> socket.socket:
    """A socket that listens there, for its owner only. What a killed run left is replaced; hold the output's lock.

    Raises:
        OSError: the file system knows no sockets, or something else stands there.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is no socket")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)  # nobody gets in before: it does not listen yet
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout: float) -> socket.socket:
    """A connection to the run that listens there; every wait on it ends after `timeout` seconds.

    Raises:
        OSError: nobody does.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        with _address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _address(path: Path) -> Generator[str]:
    if len(os.fsencode(path)) <= _MOST_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
