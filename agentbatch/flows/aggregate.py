"""How the outputs of a group's members become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import orjson

from agentbatch.errors import ConditionFault
from agentbatch.files.plain_json import to_plain
from agentbatch.items import Result, Scope
from agentbatch.record import record
from agentbatch.templates import Condition

_TOLD = 100
"""Characters of a ballot in the books of a vote."""


def as_map(results: Sequence[Result]) -> dict[str, Any]:
    """Outputs by member name; null where a member failed. A name that comes again is told apart by `#2`."""
    outputs: dict[str, Any] = {}
    for result in results:
        name, count = result.name, 1
        while name in outputs:
            count += 1
            name = f"{result.name}#{count}"
        outputs[name] = result.output
    return outputs


def as_list(results: Sequence[Result]) -> list[Any]:
    """Outputs in declared order; null where a member failed."""
    return [result.output for result in results]


def as_text(results: Sequence[Result], separator: str) -> str:
    """The outputs of the members that succeeded, joined."""
    return separator.join(_text(result.output) for result in results if result.ok)


@record
class Vote:
    """The most frequent output of the members that succeeded. Of several with as many votes the first declared wins.

    `by` says what of an output is voted on. With `normalise` texts are compared without case and outer white space.
    """

    by: Condition | None = None
    normalise: bool = True

    def of(self, results: Sequence[Result], scope: Scope) -> tuple[Any, dict[str, Any]]:
        """The winner, and how it came about: `votes` for it `of` all, and whether there was a `tie`, between whom.

        Raises:
            ConditionFault: `by` can't be computed for a member.
        """
        voters = [result for result in results if result.ok]
        if not voters:
            return None, {"votes": 0, "of": 0, "tie": False}
        ballots = [self._ballot(result, scope) for result in voters]
        counts = Counter(ballots)
        most = max(counts.values())
        leaders = [ballot for ballot in counts if counts[ballot] == most]
        told: dict[str, Any] = {"votes": most, "of": len(voters), "tie": len(leaders) > 1}
        if len(leaders) > 1:
            told["tied"] = [ballot[:_TOLD] for ballot in leaders]
        return voters[ballots.index(leaders[0])].output, told

    def _ballot(self, result: Result, scope: Scope) -> str:
        value = result.output if self.by is None else self.by.value(seen_by_member(result, scope))
        return " ".join(value.lower().split()) if self.normalise and isinstance(value, str) else _text(value)


def best(results: Sequence[Result], score: Condition, scope: Scope) -> tuple[Any, dict[str, Any]]:
    """The output with the highest score, and how it came about. Of several the one declared first wins.

    Members without an output have no score.

    Raises:
        ConditionFault: the score can't be computed for a member, or is no number.
    """
    scored = [(_score(result, score, scope), result) for result in results if result.output is not None]
    if not scored:
        return None, {"member": None, "score": None, "tie": False}
    highest = max(points for points, _ in scored)
    leaders = [result for points, result in scored if points == highest]
    told: dict[str, Any] = {"member": leaders[0].name, "score": highest, "tie": len(leaders) > 1}
    if len(leaders) > 1:
        told["tied"] = [leader.name for leader in leaders]
    return leaders[0].output, told


def seen_by_member(result: Result, scope: Scope) -> Mapping[str, Any]:
    """What an expression about one member sees: `output`, `name` and `status` are the member's."""
    return {**scope.names, "output": result.output, "name": result.name, "status": result.status}


def _score(result: Result, score: Condition, scope: Scope) -> float:
    value = score.value(seen_by_member(result, scope))
    if isinstance(value, bool) or not isinstance(value, int | float) or isnan(value):
        raise ConditionFault(f"{score.where}: expected a number for {result.name}, got {str(value)[:_TOLD]!r}")
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(to_plain(value), option=orjson.OPT_SORT_KEYS).decode()
