"""A canary while it runs: the items that were drawn, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentbatch.canary.draw import spread
from agentbatch.canary.findings import Canary, Planned, findings
from agentbatch.canary.measured import Measured, measured
from agentbatch.forecast import forecast
from agentbatch.items import Item
from agentbatch.plan import make_plan

if TYPE_CHECKING:
    from agentbatch.config import Config


class Trial:
    """The sample of one run. The same config, inputs and seed give the same, so that a continued run completes it."""

    def __init__(self, config: Config, wanted: int, seed: int) -> None:
        self._config = config
        self._wanted = wanted
        self._seed = seed
        self._seen: dict[int, Measured] = {}
        self.items: list[Item] = []
        """The sample, in input order."""
        self.begun: frozenset[int] = frozenset()
        """The indexes of those that this run has to do; the others have a result already."""
        self.others = 0
        """Items still to do beside these."""

    def draw(self, items: Callable[[], Iterator[Item]], is_done: Callable[[Item], bool]) -> None:
        """Choose from the items that can be run. They are read twice."""
        count = to_do = 0
        for item in items():
            count += 1
            to_do += not is_done(item)
        places = spread(count, self._wanted, self._seed)
        self.items = [item for place, item in enumerate(items()) if place in places]
        self.begun = frozenset(item.index for item in self.items if not is_done(item))
        self.others = to_do - len(self.begun)

    @property
    def to_run(self) -> Iterator[Item]:
        """The items of the sample that have no result yet."""
        return iter([item for item in self.items if item.index in self.begun])

    @property
    def known(self) -> frozenset[int]:
        """The indexes of those that have a result from an earlier run."""
        return frozenset(item.index for item in self.items) - self.begun

    @property
    def paid_usd(self) -> float:
        """What the items of this run have cost by their lines, as far as it is known."""
        return sum(self._seen[index].cost_usd or 0.0 for index in self.begun if index in self._seen)

    def take_in(self, line: Mapping[str, Any]) -> None:
        """The result line of an item of the sample."""
        self._seen[line["index"]] = measured(line, self._config)

    def findings(self, spent_usd: float, total: int) -> Canary:
        """What the sample says. `spent_usd` is what all results have cost so far; the run has `total` items in all."""
        plan = forecast(self._config, make_plan(self._config), self.others, self.items)
        seen = [self._seen[index] for index in sorted(self._seen)]
        return findings(self._config, seen, self.others, spent_usd=spent_usd, planned=Planned.of(plan), total=total)


def decided(found: Canary, went_on: bool) -> Canary:
    """The findings, with what followed from them."""
    return replace(found, went_on=went_on)


def why_not(found: Canary) -> str:
    """Why the run ends after its canary."""
    reason = "; ".join(found.against) or "it was not to go on"
    return f"the canary: {reason}. To run the rest all the same, continue without a canary"
