"""Files that agents leave behind, kept beside the results: `<results stem>.artifacts/<item id>/<step>/...`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from agentbatch.errors import CommandFault
from agentbatch.record import record

MAX_BYTES = 1024 * 1024 * 1024
MAX_FILES = 10_000
_LONGEST_NAME = 150


def file_name(text: str) -> str:
    """A name of a file for any text: percent-encoded, never `.` or `..`, never too long, and never two texts alike."""
    name = quote(text, safe="[]#@ ,+=") or "%"
    if not name.strip("."):
        name = name.replace(".", "%2E")
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{name[: _LONGEST_NAME - 25]}-{digest}"


@record
class ArtifactFolder:
    """Where the files of all items go. `on_kept` hears, in the thread that copies, of each step's folder inside it."""

    path: Path
    on_kept: Callable[[Path], None] | None = None

    def keep(self, patterns: list[str], source: Path, item: str, step: str) -> list[str]:
        """As of `keep_artifacts`, for one step of an item."""
        inside = Path(file_name(item), file_name(step))
        kept = keep_artifacts(patterns, source, self.path / inside)
        if self.on_kept is not None:
            self.on_kept(inside)
        return kept


def keep_artifacts(patterns: list[str], source: Path, target: Path) -> list[str]:
    """Copy the files in `source` that fit any of the patterns to `target`, which is emptied before.

    Links are not followed: a file that is reached through one is not taken.

    Returns:
        Their paths, relative to `source`, sorted.

    Raises:
        CommandFault: they are too many, or too large, or can't be copied.
    """
    found = {path for pattern in patterns for path in source.glob(pattern) if _is_own_file(path, source)}
    if len(found) > MAX_FILES or sum(path.stat().st_size for path in found) > MAX_BYTES:
        raise CommandFault(f"the artifacts are more than {MAX_FILES:,} files or {MAX_BYTES // 1024**2:,} MB")
    try:
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted(found):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy, follow_symlinks=False)
    except OSError as error:
        raise CommandFault(f"the artifacts can't be kept in {target}: {error.strerror}") from None
    return sorted(str(path.relative_to(source)) for path in found)


def _is_own_file(path: Path, source: Path) -> bool:
    between = [path, *path.parents[: len(path.relative_to(source).parts) - 1]]
    return path.is_file() and not any(each.is_symlink() for each in between)
