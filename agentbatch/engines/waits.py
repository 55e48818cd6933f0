"""What the items in flight wait for at this moment, and how many for each: see `time_book`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from agentbatch.endpoints.endpoint import Endpoint
from agentbatch.limits import Budget, Limiter
from agentbatch.time_book import Bound, Waits

THE_RUN = Bound("concurrency")
"""The bound on items in flight."""


def limits_waited_for(endpoints: Iterable[Endpoint], limiters: Sequence[Limiter], budget: Budget, now: float) -> Waits:
    """The limits with a queue before them. Who queues for a place behind a queue waits for what that one waits for.

    Permits are taken before rates, and an agent's before its model's: so rates and models come first, and the permits
    of agents, groups and tools only where no request waits for anything.
    """
    waits: Counter[Bound] = Counter()
    if budget.waiting:
        waits[Bound("budget")] = budget.waiting
    for endpoint in endpoints:
        bound, waiting = endpoint.held_by(now)
        if bound is not None:
            waits[bound] += waiting
    own = [limiter for limiter in limiters if not limiter.owner.startswith("model ")]
    for limiter in own:
        bound, waiting = limiter.rate_held_by()
        if bound is not None:
            waits[bound] += waiting
    if not waits:
        for limiter in own:
            if limiter.permits is not None and limiter.permits.waiting:
                waits[Bound("concurrency", limiter.owner)] += limiter.permits.waiting
    return waits


def full_endpoints(endpoints: Iterable[Endpoint]) -> Waits:
    """The endpoints that take no more requests, where as many items are in flight as they have places."""
    return {endpoint.place_bound: endpoint.in_flight for endpoint in endpoints if endpoint.is_full}


def work_under_way(endpoints: Iterable[Endpoint], working: int) -> Counter[Bound]:
    """What is on its way: answers, retries that wait for their time, and, of `working` leaves, tools and programs."""
    waits: Counter[Bound] = Counter()
    for endpoint in endpoints:
        if endpoint.in_flight:
            waits[Bound("provider", endpoint.owner)] += endpoint.in_flight
        if endpoint.sleeping:
            waits[Bound("back_off", endpoint.owner)] += endpoint.sleeping
        working -= endpoint.in_flight + endpoint.sleeping
    if working > 0:
        waits[Bound("work")] += working
    return waits
