"""Did-you-mean for the name of a file that is not there."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from agentbatch.text.suggestions import nearest

_LOOKED_AT = 1_000
"""Names in a folder; of a fuller one the first."""


def did_you_mean_file(path: Path) -> str:
    """What to append to a message about a file that is not there: `, did you mean 'c.yaml'?`, or nothing."""
    try:
        with os.scandir(path.parent) as entries:
            names = [Path(entry.name) for entry in islice(entries, _LOOKED_AT)]
    except (OSError, ValueError):
        return ""
    alike = {name.stem: name.name for name in names if name.suffix[:2] == path.suffix[:2]}  # .yml is .yaml, too
    match = nearest(path.stem, alike)
    return f", did you mean {str(path.with_name(alike[match]))!r}?" if match else ""
