"""Faults at exact system calls, by strace."""

from __future__ import annotations

import functools
import shutil
import subprocess
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
    draft = f"{path.name}.tmp"
    names = (path, path.with_name(draft), path.name, draft)  # the program gives whole names, or those in its folder
    paths = [part for name in names for part in ("-P", str(name))]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *paths, "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
