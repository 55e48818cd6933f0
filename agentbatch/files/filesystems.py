"""Whether a folder lies on another machine, where appending and locking promise less."""

from __future__ import annotations

import os
from pathlib import Path

_NETWORK = ("nfs", "cifs", "smb", "fuse", "9p", "afs", "ceph", "lustre", "gluster")


def filesystem_of(folder: Path) -> str | None:
    """The type of the file system that holds `folder` (`ext4`, `nfs4`, ...); None where that can't be told."""
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    # proc(5): id, parent, major:minor, root, mount point, options, optional fields, "-", type, source, options
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        if place.split(" ")[2] == wanted:
            return kind.split(" ")[0]
    return None


def is_network(folder: Path) -> bool:
    """Whether `folder` is on a network or user-space file system."""
    kind = filesystem_of(folder)
    return kind is not None and kind.startswith(_NETWORK)
