"""Values set side by side: of two steps that run at the same time only one may set a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentbatch.errors import ConditionFault
from agentbatch.items import Result


def check_setters(results: Sequence[Result], ordered: Callable[[int, int], bool] | None = None) -> None:
    """Refuse a value that would depend on chance.

    Args:
        results: of steps that ran at the same time.
        ordered: whether the steps at two positions ran one after the other, so that the later one may set again.

    Raises:
        ConditionFault: two of them set the same name: like a condition that is neither true nor false, it fails closed.
    """
    setters: dict[str, list[int]] = {}
    for position, result in enumerate(results):
        for name in result.sets:
            for other in setters.get(name, ()):
                if ordered is None or not ordered(other, position):
                    raise ConditionFault(
                        f"vars.{name} is set by {results[other].name} and by {result.name}, which run at the same time:"
                        " which value counts would be chance. Give each a name of its own, or read their outputs"
                    )
            setters.setdefault(name, []).append(position)
