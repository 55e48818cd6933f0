"""How much money: what a request could cost at worst is set aside before it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext

from agentbatch.errors import RunStopped

_ROUNDING_USD = 1e-12
"""What sums of what was set aside and given back may leave over."""


class Budget:
    """A hard cap in US dollars: what a request could cost at worst is set aside before it is sent."""

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self.spent = spent
        self.set_aside = 0.0
        self.item_cap: float | None = None
        """US dollars that one item may cost."""
        self.nobodys = nullcontext(Spending(self, 0.0))
        """For requests of items that may cost anything."""
        self.unfinished = 0.0
        """What attempts may have cost whose items did not come to their end."""
        self.on_want: Callable[[], None] | None = None
        """Set where the cap is borrowed and may grow: called when a request needs more of it."""
        self.exhausted: str | None = None
        """Why it won't."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lacking: dict[asyncio.Future[None], float] = {}

    @property
    def caps(self) -> bool:
        """Whether anything has to be set aside: for the run, or for its items."""
        return self.cap is not None or self.item_cap is not None

    @property
    def waiting(self) -> int:
        """How many requests wait until others have cost less than they could."""
        return len(self._waiting)

    @property
    def lacking(self) -> tuple[float, ...]:
        """What each request that waits wants to set aside."""
        return tuple(self._lacking.values())

    def reserved(self, usd: float) -> Spending:
        """`async with budget.reserved(worst) as spending:` sets `usd` aside; at its end `spending.usd` was spent.

        Entering waits while only requests in flight stand in the way: most cost less than they could.

        Raises:
            RunStopped: on entering, when the cap could be passed whatever those cost.
        """
        return Spending(self, usd)

    async def enter(self, usd: float) -> None:
        """Set `usd` aside, as soon as it fits."""
        while self.cap is not None and self.spent + max(0.0, self.set_aside) + usd > self.cap + _ROUNDING_USD:
            if self.exhausted is not None:
                raise RunStopped(self.exhausted)
            if self.on_want is not None:
                self.on_want()
            elif self.spent + usd > self.cap + _ROUNDING_USD:
                raise RunStopped(
                    f"max_cost ${self.cap:g} is reached: ${self.spent:.4f} spent, and the next request could cost"
                    f" ${usd:.4f}"
                )
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            self._lacking[freed] = usd
            try:
                await freed
            finally:
                del self._lacking[freed]
        self.set_aside += usd

    async def enter_with_rest(self) -> float:
        """Set aside all that is left of the cap, as soon as nothing else is; how much that is, for `leave`."""
        while self.set_aside > _ROUNDING_USD:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        rest = 0.0 if self.cap is None else max(0.0, self.cap - self.spent)
        self.set_aside += rest
        return rest

    def leave(self, usd: float, spent: float) -> None:
        """Replace what was set aside by what was really spent."""
        self.spent += spent
        self.set_aside -= usd
        self._look_again()

    def set_cap(self, cap: float) -> None:
        """Change the cap. What was sent without one, for items that may cost anything, was not set aside."""
        self.cap = cap
        self._look_again()

    def exhaust(self, why: str) -> None:
        """The cap won't grow any more."""
        self.exhausted = why
        self._look_again()

    def _look_again(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)


class Spending:
    """One request's share of the budget, while it lasts."""

    __slots__ = ("_budget", "_set_aside", "usd")

    def __init__(self, budget: Budget, set_aside: float) -> None:
        self._budget = budget
        self._set_aside = set_aside
        self.usd = 0.0

    def all(self) -> None:
        """What it has really cost is not known: it counts as all that was set aside."""
        self.usd = self._set_aside

    async def __aenter__(self) -> Spending:
        await self._budget.enter(self._set_aside)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._budget.leave(self._set_aside, self.usd)
