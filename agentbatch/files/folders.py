"""Files inside a folder that is a boundary: names come from models and inputs, and none leads outside.

Every part of a path is opened by itself, from the descriptor of the folder before it, and a symbolic link is never
followed: there is no moment between looking and opening in which the path could come to mean something else
(https://cwe.mitre.org/data/definitions/22.html, https://cwe.mitre.org/data/definitions/367.html).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # without waiting for a pipe's other end
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 4096
_DEEPEST = 64


class Outside(ValueError):
    """A name that does not name anything inside the folder; the message is for people and models."""


def parts_of(name: str) -> list[str]:
    """The parts of a relative path.

    Raises:
        Outside: it is absolute, leads upwards, or is no path.
    """
    if "\0" in name or len(name) > _LONGEST:
        raise Outside("that is no path")
    if name.startswith(("/", "\\", "~")):
        raise Outside(f"{name!r}: paths are relative to the folder, and stay inside it")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or len(parts) > _DEEPEST:
        raise Outside(f"{name!r}: paths stay inside the folder")
    return parts


class Folder:
    """A folder that nothing named through it can leave. `root` itself may be reached through links."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str, limit: int) -> tuple[bytes, int]:
        """The first bytes of a file, at most `limit`, and its whole size.

        Raises:
            Outside: there is no such regular file inside.
        """
        parts = parts_of(name)
        if not parts:
            raise Outside(f"{name!r} is a folder")
        descriptor = self._open(parts, _READ)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise Outside(f"{name!r} is a folder")
            if not stat.S_ISREG(found.st_mode):
                raise Outside(f"{name!r} is no regular file")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(limit), found.st_size
        finally:
            os.close(descriptor)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, making the folders that lead to it.

        Raises:
            Outside: the name leads outside, or through something that is no folder.
        """
        parts = parts_of(name)
        if not parts:
            raise Outside(f"{name!r} names no file")
        try:
            descriptor = self._open(parts, _CREATE, make_folders=True)
        except OSError as error:
            raise Outside(f"{name!r}: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    def entries(self, name: str = ".") -> list[tuple[str, bool, int]]:
        """What a folder holds, by name: whether each is a folder, and its size in bytes. Links are left out.

        Raises:
            Outside: there is no such folder inside.
        """
        descriptor = self._open(parts_of(name), _FOLDER)
        try:
            with os.scandir(descriptor) as found:
                kept = [entry for entry in found if entry.is_dir(follow_symlinks=False) or _is_file(entry)]
                sizes = [(entry.name, entry.is_dir(follow_symlinks=False), _size(entry)) for entry in kept]
        finally:
            os.close(descriptor)
        return sorted(sizes)

    def walk(self, name: str = ".") -> Iterator[str]:
        """The paths of all files in a folder and below, sorted, relative to the root."""
        try:
            entries = self.entries(name)
        except (Outside, OSError):
            return
        start = "/".join(parts_of(name))
        for entry, is_folder, _ in entries:
            path = f"{start}/{entry}" if start else entry
            if not is_folder:
                yield path
            elif path.count("/") < _DEEPEST - 1:
                yield from self.walk(path)

    def _open(self, parts: list[str], flags: int, *, make_folders: bool = False) -> int:
        """A descriptor of what the parts lead to.

        Raises:
            Outside: they lead to nothing, or through a link.
        """
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            if make_folders and not last:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            try:
                inner = os.open(part, flags if last else _FOLDER, 0o644, dir_fd=descriptor)
            except (OSError, ValueError) as error:
                raise Outside(_said("/".join(parts), error)) from None
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _said(name: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no {name!r}"
    if isinstance(error, OSError) and error.errno in (40, 20):  # ELOOP: a link; ENOTDIR: through a file, or a link
        return f"{name!r} leads through a link, or through what is no folder"
    return f"{name!r}: {error.strerror if isinstance(error, OSError) else error}"
