"""What killed processes leave beside the results: harmless, and cleared away."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentbatch.ctl.socket_place import socket_path
from agentbatch.doctor.finding import Checkup, Finding
from agentbatch.results.files import ResultFiles


def look_at_leftovers(files: ResultFiles, lock: Path | None) -> Checkup:
    """Drafts of files that were never put in place, and the socket and the lock of a run that was killed.

    `lock` is None where it is ours.
    """
    drafts = _drafts(files)
    findings = [_draft(path) for path in drafts]
    control = socket_path(files.results)
    if control.is_socket():
        means = "a run was killed; the next one makes its own"
        findings.append(Finding(control, None, "is a socket nobody listens at", means, "deleted", True, wrong=False))
        drafts.append(control)
    if lock is None:
        pass
    elif lock.is_file():
        means = "a run was killed; the kernel has let go of its lock, so it blocks nobody"
        findings.append(Finding(lock, None, "stands there, and no run does", means, "deleted", True, wrong=False))
        drafts.append(lock)
    elif lock.exists():
        means = "a run can't lock the output, and refuses to begin"
        findings.append(Finding(lock, None, "is no file", means, "move it out of the way"))
    return Checkup(tuple(findings), partial(_delete, drafts) if drafts else None)


def _drafts(files: ResultFiles) -> list[Path]:
    whole = [path.with_name(f"{path.name}.tmp") for path in (files.results.resolve(), files.header, files.report)]
    index = files.traces_index
    return [path for path in (*whole, *index.parent.glob(f".{index.name}.*.tmp")) if path.is_file()]


def _draft(path: Path) -> Finding:
    means = "a process was killed before it put this file in place; what it was to replace is as it was"
    return Finding(path, None, "is a draft", means, "deleted", mendable=True, wrong=False)


def _delete(paths: list[Path]) -> str:
    for path in paths:
        path.unlink(missing_ok=True)
    return f"deleted: {', '.join(map(str, paths))}"
