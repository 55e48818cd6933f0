"""What a canary found: what the rest of the run will cost and take, and whether that fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from agentbatch.canary.estimate import Estimate, mean_of, sum_of_others
from agentbatch.canary.measured import Measured
from agentbatch.forecast.bounds import Account, Bounds, Range, Spend
from agentbatch.forecast.reckoning import Forecast
from agentbatch.forecast.time import Constraint, constraints
from agentbatch.record import record
from agentbatch.stop_rules import FailureAllowance
from agentbatch.text import figures
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.config import Config

MOST_FAILED = 0.5
"""The share of a canary that may fail where `max_failures` says nothing."""


@record
class Canary:
    """What the sample found. Money is in US dollars, time in seconds.

    Attributes:
        items: of the sample, all of which have a result now; `failed` of them failed.
        others: items still to do.
        spent_usd: what all results of this output have cost so far, as far as it is known.
        cost_usd: what the others will cost; None where not everything the sample cost is known.
        seconds: how long they will take; `bound_by` is the limit that they wait for.
        planned: what the plan had said of the others: cost (None: unknown), time, and what it is bound by.
        max_cost: the cap.
        against: why the run should not go on, a sentence each.
        went_on: whether it did.
    """

    items: int
    failed: int
    others: int
    spent_usd: float
    cost_usd: Estimate | None
    seconds: Estimate
    bound_by: str
    planned: Planned
    max_cost: float | None = None
    against: tuple[str, ...] = ()
    went_on: bool = False


@record
class Planned:
    """What a forecast says."""

    cost_usd: Range | None
    seconds: Range
    bound_by: str

    @classmethod
    def of(cls, forecast: Forecast) -> Planned:
        """The figures of a forecast that a canary has, too."""
        bound_by = forecast.constraints[0].name if forecast.seconds.high else ""
        return cls(forecast.cost, forecast.seconds, bound_by)


def findings(
    config: Config, seen: Sequence[Measured], others: int, *, spent_usd: float, planned: Planned, total: int
) -> Canary:
    """What those `seen` say of the `others`. `total` is how many items the run has in all."""
    bounds, expected = _spent_by_others(seen, others)
    each = mean_of([one.seconds for one in seen])
    likely = constraints(config, expected, others, Range(each.expected, each.expected))
    slowest = constraints(config, bounds, others, Range(each.low, each.high))
    cost = _cost(seen, others)
    failed = sum(one.failed for one in seen)
    against = [
        *_over_the_cap(config.limits.max_cost, spent_usd, cost),
        *_too_many_failed(FailureAllowance.parse(config.limits.max_failures), failed, len(seen), total),
    ]
    return Canary(
        items=len(seen),
        failed=failed,
        others=others,
        spent_usd=spent_usd,
        cost_usd=cost,
        seconds=_longest(likely, slowest),
        bound_by=likely[0].name if likely and likely[0].seconds.high else "",
        planned=planned,
        max_cost=config.limits.max_cost,
        against=tuple(against) if others else (),
    )


def _spent_by_others(
    seen: Sequence[Measured], others: int
) -> tuple[Mapping[Account, Bounds], Mapping[Account, Bounds]]:
    """What the others will take by account: the bounds, and what is expected, in the form of bounds."""
    accounts = dict.fromkeys(account for one in seen for account in one.spent)
    bounds: dict[Account, Bounds] = {}
    expected: dict[Account, Bounds] = {}
    for account in accounts:
        spends = [one.spent.get(account, Spend()) for one in seen]
        sums = [sum_of_others(figure, others) for figure in zip(*spends, strict=True)]
        bounds[account] = Bounds(Spend(*(each.low for each in sums)), Spend(*(each.high for each in sums)))
        likely = Spend(*(each.expected for each in sums))
        expected[account] = Bounds(likely, likely)
    return bounds, expected


def _longest(likely: Sequence[Constraint], bounds: Sequence[Constraint]) -> Estimate:
    return Estimate(
        max((each.seconds.high for each in likely), default=0.0),
        max((each.seconds.low for each in bounds), default=0.0),
        max((each.seconds.high for each in bounds), default=0.0),
    )


def _cost(seen: Sequence[Measured], others: int) -> Estimate | None:
    costs = [one.cost_usd for one in seen if one.cost_usd is not None]
    return sum_of_others(costs, others) if len(costs) == len(seen) else None


def _over_the_cap(cap: float | None, spent: float, cost: Estimate | None) -> Iterator[str]:
    if cap is None:
        return
    if cost is None:
        yield "what some of its answers cost is not known, so nobody can say whether max_cost will do"
    elif not math.isfinite(cost.high):
        yield "one item says too little about whether max_cost will do"
    elif spent + cost.high > cap:
        most, likely = figures.money(spent + cost.high), figures.money(spent + cost.expected)
        yield f"the run may cost {most}, most likely {likely}, and max_cost is ${cap:g}"


def _too_many_failed(allowed: FailureAllowance, failed: int, items: int, total: int) -> Iterator[str]:
    if not failed:
        return
    share = failed / items
    if allowed.given and not allowed.exceeded(math.ceil(share * total), total):
        return
    if allowed.given or share > MOST_FAILED:
        than = "max_failures allows" if allowed.given else figures.percent(MOST_FAILED)
        yield f"{failed:,} of {counted(items, 'item')} failed, more than {than}"
