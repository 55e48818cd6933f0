"""The config and what it needs from its folder, as one content-addressed package that a node unpacks once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, BinaryIO

from agentbatch.errors import ConfigError

if TYPE_CHECKING:
    from agentbatch.config import Config

MAX_BYTES = 100 * 1024**2
"""Of a package, packed: it is held in memory by the driver and by every node, and Ray takes no larger one for a job."""

_LEFT_OUT = ("__pycache__", "node_modules", "site-packages", "venv")
_NEVER = (".env", ".env.*", "*.results.jsonl", "*.traces.jsonl", "*.pyc")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Package:
    """Files as a zip archive. `digest` names its content, `config` is the config's path inside."""

    digest: str
    config: str
    data: bytes


def pack(config: Config, more: Mapping[str, Path] = MappingProxyType({}), most: int = MAX_BYTES) -> Package:
    """The config's file, its prompts and its folder's Python modules; with `engine.working_dir` that whole folder.

    Dot-files (`.env` among them) and results are never part of it. `more` are further files, by their names inside.
    `most` is the limit in bytes: of the files beside the config, and of all when it is packed.

    Raises:
        ConfigError: it is too large, or the config was not loaded from a file.
    """
    source = config.source
    if source is None:
        raise ConfigError("a config that was not loaded from a file can't be sent to other machines")
    engine = config.engine
    own = {source.path.resolve(), *_prompts(config)}
    folder = config.folder.resolve()
    if engine.working_dir is not None:
        folder = (folder / engine.working_dir).resolve()
        if not folder.is_dir():
            raise ConfigError(f"engine.working_dir: there is no folder {folder}")
        files = {*own, *_files_below(folder, ("*",), engine.excludes)}
    else:
        files = {*own, *_files_below(folder, ("*.py",), engine.excludes)}
    base = Path(os.path.commonpath([folder, *(path.parent for path in own)]))
    data = _zipped({str(path.relative_to(base)): path for path in sorted(files)}, more, most)
    return Package(hashlib.sha256(data).hexdigest()[:32], str(source.path.resolve().relative_to(base)), data)


def unpacked_folder(digest: str) -> Path | None:
    """Where a package's files stand on this machine; None where it has not come here before."""
    folder = _home() / digest
    return folder if folder.is_dir() else None


def unpack(digest: str, data: bytes) -> Path:
    """Write a package's files to this machine, and say where; whoever comes first writes them."""
    home = _home()
    target = home / digest
    making = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=home))
    try:
        _extract(data, making)
        making.rename(target)
    except BaseException as error:
        shutil.rmtree(making, ignore_errors=True)
        if not isinstance(error, OSError) or not target.is_dir():  # else another worker of this machine was quicker
            raise
    return target


def _extract(data: bytes, folder: Path) -> None:
    """Write the files with the permissions that they had, which `ZipFile.extract` leaves to us."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            path = archive.extract(entry, folder)
            if mode := entry.external_attr >> 16 & 0o777:
                Path(path).chmod(mode)


def _home() -> Path:
    """This user's folder for packages.

    Raises:
        ConfigError: somebody else made it.
    """
    home = Path(tempfile.gettempdir()) / f"agentbatch-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise ConfigError(f"{home} belongs to somebody else, so code in it can't be trusted: set TMPDIR")
    return home


def _prompts(config: Config) -> set[Path]:
    """The files that templates were loaded from."""
    origin = config.origin
    return set() if origin is None else {Path(text.name).resolve() for text in origin.files.values()}


def _files_below(folder: Path, wanted: Sequence[str], excludes: Sequence[str]) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        inside = Path(at).relative_to(folder)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in _LEFT_OUT
            and not (Path(at) / name / "pyvenv.cfg").exists()
            and not _matches(inside / name, excludes)
        ]
        for name in names:
            if name.startswith(".") or _matches(Path(name), _NEVER) or _matches(inside / name, excludes):
                continue
            if _matches(Path(name), wanted):
                yield Path(at) / name


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(str(path), pattern) or fnmatch(path.name, pattern) for pattern in patterns)


def _zipped(files: Mapping[str, Path], more: Mapping[str, Path], most: int) -> bytes:
    """The archive: the same bytes for the same files, whenever it is made."""
    made = io.BytesIO()
    left = most
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in [*files.items(), *more.items()]:
            if not path.is_file():
                continue
            left -= 0 if name in more else path.stat().st_size
            if left < 0:
                raise ConfigError(
                    f"the files beside the config are more than {most // 1024**2} MB: too much to send to every"
                    f" node. Leave some out with engine.excludes, such as {path.parent.name}/*"
                )
            with path.open("rb") as file, archive.open(_entry(name, path), "w", force_zip64=True) as packed:
                _copy(file, packed, path, lambda: made.tell() <= most)
    return made.getvalue()


def _entry(name: str, path: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = (path.stat().st_mode & 0o777) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _copy(file: BinaryIO, packed: IO[bytes], path: Path, fits: Callable[[], bool]) -> None:
    while block := file.read(1024**2):
        packed.write(block)
        if not fits():
            raise ConfigError(
                f"{path}: with it, the package of the job is larger, packed, than Ray takes. Send a part of it, or run"
                " where it is: ray job submit -- agentbatch run ..."
            )
