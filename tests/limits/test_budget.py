"""The cap on the cost holds."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time

from agentbatch.errors import RunStopped
from agentbatch.limits import Budget


def test_budget_is_set_aside_before_and_settled_after() -> None:
    async def main() -> None:
        budget = Budget(1.0, spent=0.5)

        async def spend(worst: float, really: float, seconds: float) -> float:
            async with budget.reserved(worst) as spending:
                entered = asyncio.get_running_loop().time()
                await asyncio.sleep(seconds)
                spending.usd = really
            return entered - began

        began = asyncio.get_running_loop().time()
        entered = await asyncio.gather(spend(0.4, 0.1, 5.0), spend(0.3, 0.1, 1.0), spend(0.1, 0.1, 1.0))
        assert entered == [0.0, 5.0, 0.0], "the second waits: together with the first it could pass the cap"
        assert budget.spent == pytest.approx(0.8)
        assert budget.set_aside == pytest.approx(0)
        with pytest.raises(RunStopped, match=r"max_cost \$1 is reached: \$0.8000 spent.*could cost \$0.3000"):
            await spend(0.3, 0.0, 0.0)

    run_in_fake_time(main())


async def test_a_cap_that_comes_late_counts_what_is_set_aside_by_then() -> None:
    """With a cap for items alone, requests set money aside, too."""
    budget = Budget(None)
    budget.item_cap = 1.0
    async with budget.reserved(0.4) as spending:
        budget.set_cap(5.0)
        assert budget.set_aside == pytest.approx(0.4)
        spending.usd = 0.1
    assert budget.set_aside == pytest.approx(0.0)
    assert budget.spent == pytest.approx(0.1)
