"""The files that command agents left behind: whether those that the results name are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from agentbatch.doctor.finding import Checkup, Finding, told_briefly
from agentbatch.results.artifacts import file_name


class ArtifactCheck:
    """Told each result line; afterwards `checkup` says what is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing: dict[str, list[Finding]] = {}

    def look(self, result: dict[str, Any]) -> None:
        """See whether the files that this line names are there. An item's later line takes the place of an earlier."""
        item = str(result["id"])
        self._missing.pop(item, None)
        steps = cast("dict[str, dict[str, Any]]", result.get("agents") or {})
        for step, fields in steps.items():
            for name in fields.get("artifacts") or ():
                path = self._folder / file_name(item) / file_name(step) / str(name)
                if not path.is_file():
                    self._missing.setdefault(item, []).append(_gone(path, item, step))

    def checkup(self) -> Checkup:
        """What was found."""
        findings = [finding for of_item in self._missing.values() for finding in of_item]
        if self._folder.exists() and not self._folder.is_dir():
            findings.append(_no_folder(self._folder))
        return Checkup(told_briefly(findings))


def _gone(path: Path, item: str, step: str) -> Finding:
    return Finding(
        path,
        None,
        f"is not there, and item {item!r} left it in its step {step!r}",
        "the result names a file that somebody deleted or moved",
        "put it back; or delete the item's line from the results, and run the same command: the item runs again",
    )


def _no_folder(path: Path) -> Finding:
    means = "a run can keep no artifacts, and its items fail"
    return Finding(path, None, "is no folder", means, "move it out of the way")
