"""The end of a process and of everything it started, wherever that went.

A child that calls `setsid` leaves its parent's group, and one whose parent died leaves its tree. So a tree is known in
three ways at once: its group, who is whose child, and a mark in the environment that every descendant inherits.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import cast

MARK = "AGENTBATCH_MARK"
"""The environment variable with the marks of all commands that a process runs under, outermost first. A mark is
`RUNNER-STARTED-RANDOM`: the number of the process that began the command, when that was started, and a random word."""

_MARKS = re.compile(rb"(?:^|\0)" + MARK.encode() + rb"=((?:\d+-\d+-[0-9a-f]+ ?)+)(?:\0|$)")
_MOST_ROUNDS = 20
_PROC = Path("/proc")


def new_mark() -> str:
    """A mark for one command of this process."""
    pid = os.getpid()
    return f"{pid}-{_started(pid)}-{token_hex(12)}"


def marked(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """An environment that carries the mark, and those of the commands that this process itself runs under."""
    return {**environment, MARK: f"{os.environ.get(MARK, '')} {mark}".strip()}


def end_orphans() -> None:
    """Kill the commands of runs that were killed before they could end them: nobody waits for what they do."""
    for pid in _all_processes():
        marks = _MARKS.search(_environment(pid))
        runners = [] if marks is None else [mark.split(b"-")[:2] for mark in marks[1].split()]
        if any(_started(int(runner)) != int(started) for runner, started in runners):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_tree(pid: int, mark: str, *, reaped: bool = False) -> None:
    """Kill a process, its group, its descendants, and every process that carries the mark; until none is left.

    `reaped`: the process itself is gone, and its number may be another's.
    """
    found = set(_members(pid, mark, reaped=reaped))
    if not reaped:
        kill_group(pid)
    killed: set[int] = set()
    for _ in range(_MOST_ROUNDS):  # a process may have forked while it was looked for
        for each in found - killed:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        killed |= found
        found = set(_members(pid, mark, reaped=True))
        if found <= killed:
            return


def _members(pid: int, mark: str, *, reaped: bool) -> Iterator[int]:
    """The tree's living processes, as far as /proc tells; nothing where there is no /proc."""
    parents: dict[int, int] = {}
    needle = mark.encode()
    own = os.getpid()
    for each in _all_processes():
        if each != own:
            parents[each] = _parent(each)
            if needle in _environment(each):
                yield each
    if not reaped:
        tree = {pid}
        grown = True
        while grown:
            children = {child for child, parent in parents.items() if parent in tree} - tree
            grown = bool(children)
            tree |= children
        yield from tree


def _all_processes() -> list[int]:
    try:
        return [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> bytes:
    """What the process was started with; nothing for one that has ended, or is another user's."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    return _stat(pid, 1)


def _started(pid: int) -> int:
    """When a process was started, in the kernel's own ticks: with its number it names it for ever. 0: there is none."""
    return _stat(pid, 19)


def _stat(pid: int, place: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[place])  # the name before it may hold anything
    except (OSError, ValueError, IndexError):
        return 0


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none (before Linux 5.3)."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return cast("int", opener(pid))
    except OSError:
        return None
