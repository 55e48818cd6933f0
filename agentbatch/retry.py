"""When to send a request again: pure decisions, taken in one place, the only retry layer there is."""

from __future__ import annotations

import random

from agentbatch.errors import StepError
from agentbatch.record import record

MAX_BACKOFF_S = 30.0

_PUT_OFF_S = 0.5
"""Seconds by which each retry too many puts the next one off."""


@record
class RetryPolicy:
    """How often and how patiently. `retries` are the attempts after the first; `base_s` the shortest back-off."""

    retries: int = 4
    base_s: float = 0.5
    cap_s: float = MAX_BACKOFF_S

    def backoff(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after so many failures: exponential with full jitter above a floor of `base_s`.

        The floor keeps a lucky draw from hammering a server; the jitter spreads those that failed together. See
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(failures, 16))
        return self.base_s + rng.random() * max(0.0, ceiling - self.base_s)

    def delay(self, error: StepError, failures: int, rng: random.Random) -> float | None:
        """Seconds until the next attempt, or None when there is none.

        `failures` are the attempts that count: the caller leaves out those the endpoint as a whole is to blame for.
        What the server asked for is a minimum, never cut.
        """
        if not error.retryable or failures > self.retries:
            return None
        return max(self.backoff(max(1, failures), rng), error.retry_after or 0.0)


class RetryBudget:
    """A bounded share of the traffic: retries may be `ratio` of the good answers, after an allowance of `burst`.

    As in gRPC's retry throttling (proposal A6) and the token bucket of AWS's SDKs, but a retry without budget is put
    off instead of given up: nothing is lost in a storm, it only gets slower. Those let a fifth or less of the traffic
    be retries, for theirs comes on top of whatever else is asked; here it takes the place of first attempts, as no more
    may be in flight. So one retry per good answer is allowed: an endpoint that fails half of the time is used as it is.
    """

    def __init__(self, ratio: float = 1.0, burst: int = 100) -> None:
        self.ratio = ratio
        self.burst = float(burst)
        self.tokens = float(burst)

    def on_answer(self) -> None:
        """A request was answered well."""
        if self.tokens < self.burst:
            self.tokens = min(self.burst, self.tokens + self.ratio)

    def take(self) -> float:
        """Spend one retry; returns seconds to put it off, 0 while there is budget.

        The debt has a bound, so that a storm which is over slows nobody down for long.
        """
        self.tokens = max(-MAX_BACKOFF_S / _PUT_OFF_S, self.tokens - 1.0)
        return 0.0 if self.tokens >= 0 else -self.tokens * _PUT_OFF_S
