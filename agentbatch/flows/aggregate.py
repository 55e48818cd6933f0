"""How the outputs of a group's members become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from agentbatch.items import Result


def as_map(results: Sequence[Result]) -> dict[str, Any]:
    """Outputs by member name; null where a member failed."""
    return {result.name: result.output for result in results}


def as_list(results: Sequence[Result]) -> list[Any]:
    """Outputs in declared order; null where a member failed."""
    return [result.output for result in results]


def as_text(results: Sequence[Result], separator: str) -> str:
    """The outputs of the members that succeeded, joined."""
    return separator.join(_text(result.output) for result in results if result.ok)


def vote(results: Sequence[Result]) -> tuple[Any, dict[str, Any]]:
    """The most frequent output of the members that succeeded, and the count.

    Texts are compared without case and outer white space, other values by their JSON. Of several with as many votes the
    one declared first wins, and `tie` says so.
    """
    voters = [result for result in results if result.ok]
    if not voters:
        return None, {"votes": 0, "of": 0, "tie": False}
    ballots = [_ballot(result.output) for result in voters]
    counts = Counter(ballots)
    most = max(counts.values())
    leaders = [ballot for ballot in dict.fromkeys(ballots) if counts[ballot] == most]
    winner = next(result.output for result in voters if _ballot(result.output) == leaders[0])
    return winner, {"votes": most, "of": len(voters), "tie": len(leaders) > 1}


def _ballot(output: Any) -> str:
    return " ".join(output.lower().split()) if isinstance(output, str) else _text(output)


def _text(output: Any) -> str:
    return output if isinstance(output, str) else orjson.dumps(output, option=orjson.OPT_SORT_KEYS).decode()
