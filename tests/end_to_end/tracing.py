"""Faults at exact system calls, by strace."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


@functools.cache
def can_trace() -> bool:
    """Whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO", "true"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def strace(path: Path, call: str, fault: str) -> list[str]:
    """The command in front of another one that lets `call` on this file fail, such as `error=EIO:when=2`."""
    return [*strace_of([path], call), "-e", f"inject={call}:{fault}"]


def strace_of(paths: Iterable[Path], call: str) -> list[str]:
    """The beginning of such a command: what it looks at."""
    found: list[str] = []
    for path in paths:
        draft = f"{path.name}.tmp"  # the program gives whole names, or those in its folder
        found += [part for name in (path, path.with_name(draft), path.name, draft) for part in ("-P", str(name))]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *found, "-e", f"trace={call}"]
