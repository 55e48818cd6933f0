"""Files that agents leave behind on a node travel to the driver, in pieces, before anything that tells of them."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from agentbatch.engines.ray.parcels import PieceRow
from agentbatch.errors import OutputError

_PIECE_BYTES = 500_000


class FilesHome:
    """A worker's end: a folder of its own, which empties as its files are sent."""

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="agentbatch-artifacts-"))
        self.folder = self._base / "kept"
        self._leaving = self._base / "leaving"
        self._leaving.mkdir()
        self._targets: deque[tuple[Path, Path]] = deque()
        self._sending: Iterator[PieceRow] | None = None

    def send(self, target: Path) -> None:
        """All files of this folder inside the folder are there. May be called from any thread.

        They are moved out of the way at once: the step may begin again, and fill its folder while they are sent.
        """
        moved = Path(tempfile.mkdtemp(dir=self._leaving))
        if (self.folder / target).is_dir():  # else it left nothing
            (self.folder / target).rename(moved)
        self._targets.append((target, moved))

    @property
    def waiting(self) -> bool:
        """Whether there is something left to send."""
        return bool(self._targets) or self._sending is not None

    def take(self, most: int) -> list[PieceRow]:
        """The next pieces, of about so many bytes together."""
        rows: list[PieceRow] = []
        size = 0
        while size < most and self.waiting:
            if self._sending is None:
                self._sending = _pieces(*self._targets.popleft())
            row = next(self._sending, None)
            if row is None:
                self._sending = None
                continue
            rows.append(row)
            size += len(row[1] or b"")
        return rows

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._base, ignore_errors=True)


def _pieces(target: Path, moved: Path) -> Iterator[PieceRow]:
    yield target.as_posix(), None
    for path in sorted(moved.rglob("*")):
        if path.is_file():
            yield from _pieces_of((target / path.relative_to(moved)).as_posix(), path)
    shutil.rmtree(moved, ignore_errors=True)


def _pieces_of(name: str, path: Path) -> Iterator[PieceRow]:
    try:
        with path.open("rb") as file:
            yield name, file.read(_PIECE_BYTES)
            while data := file.read(_PIECE_BYTES):
                yield name, data
    except OSError as error:
        raise OutputError(f"the artifact {name} can't be read on its node: {error.strerror or error}") from None


def write_pieces(folder: Path, rows: Sequence[PieceRow]) -> None:
    """The driver's end: add the pieces to the files that they are of.

    Raises:
        OutputError: they can't be written.
    """
    for name, data in rows:
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise OutputError(f"a worker sent a file for {name!r}, which is outside {folder}")
        path = folder / inside
        try:
            if data is None:
                shutil.rmtree(path, ignore_errors=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise OutputError(f"the artifacts can't be kept in {folder}: {error.strerror or error}") from None
