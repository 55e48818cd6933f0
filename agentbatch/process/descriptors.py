"""File descriptors: as many as the system allows, and shared among the connections of a run.

A server that is asked beyond them would fail items that are sound; so no more connections are opened than fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_MOST = 1 << 20
_RESERVE = 16
"""For what is opened later: the journal, name lookups, pipes of tools."""


def raise_limit() -> None:
    """Let this process, and those it starts, open as many files as its hard limit allows."""
    try:
        import resource  # late: there is none on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        pass  # macOS allows less than its hard limit says: what there is must do


def connections_left() -> int:
    """How many connections may be opened on top of what is open now."""
    try:
        import resource  # late, as above
    except ImportError:
        return _MOST
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(1, soft - _open_now() - _RESERVE)


def shared_out(wanted: Mapping[str, int], places: int) -> dict[str, int]:
    """So many places among all who want some, one each at least: who wants few gets them, the others share the rest."""
    left = places
    given: dict[str, int] = {}
    for served, (name, number) in enumerate(sorted(wanted.items(), key=lambda one: one[1])):
        given[name] = max(1, min(number, left // (len(wanted) - served)))
        left -= given[name]
    return given


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return 32
