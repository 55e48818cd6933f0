"""Keeping limits that a server announces in its headers, as if they stood in the config: before the first refusal.

What is announced per minute becomes a rate of the endpoint as soon as half of it is used, with what was sent before in
its books; a limit that nobody comes near slows nobody down. Where others use the same key, less remains than our own
books say: then the next request is put off until it should be back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping

from agentbatch.endpoints.rate_headers import Allowance, allowances
from agentbatch.limits import WINDOW_S, Limiter, Rate, RateLike
from agentbatch.record import record

_LISTEN_TO = 20
"""A server that announces nothing in so many answers will not begin."""

_SHORTEST_PERIOD_S = 30.0
_LONGEST_RESET_S = 61.0
"""A limit whose pace and resets lie outside of these is none per minute."""


@record
class Sending:
    """What had been sent when a request went out, itself included, and when that was (loop time)."""

    at: float
    requests: int
    tokens: float


class AnnouncedLimits:
    """The announced limits of one endpoint, whose `limiter` they become part of. What the config says stays a bound."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._configured = {
            "requests": None if limiter.rpm is None else limiter.rpm.limit,
            "tokens": None if limiter.tpm is None else limiter.tpm.limit,
        }
        self._kept = dict(self._configured)
        """The limits as we left them."""
        self._requests = 0
        self._tokens = 0.0
        self._unheard = 0
        self._recent: deque[float] | None = deque(maxlen=10_000)
        """When the last requests went out, as long as the server may say something about its limits."""
        self._periods: dict[str, float] = {}

    @property
    def silent(self) -> bool:
        """Whether the server has answered often enough without a word about limits."""
        return self._unheard >= _LISTEN_TO

    def sent(self, now: float, tokens: float) -> Sending:
        """A request goes out, of about so many tokens."""
        self._requests += 1
        self._tokens += tokens
        if self._recent is not None:
            self._recent.append(now)
        return Sending(now, self._requests, self._tokens)

    def heard(self, headers: Mapping[str, str], sending: Sending, now: float) -> None:
        """An answer to that request came, with these headers."""
        found = allowances(headers, time.time())
        if not found:
            self._unheard += not self._periods
            if self.silent:
                self._recent = None
            return
        for allowance in found:
            if self._is_per_minute(allowance):
                self._keep(allowance, sending, now)
            else:
                self._let_go(allowance)

    def _is_per_minute(self, allowance: Allowance) -> bool:
        """Some state limits per day or per second under the same names: the time until all is back tells."""
        used = allowance.limit - allowance.remaining
        if allowance.reset_s is None or not used:
            return allowance.reset_s is None or allowance.reset_s <= _LONGEST_RESET_S
        period = max(allowance.reset_s * allowance.limit / used, self._periods.get(allowance.unit, 0.0))
        self._periods[allowance.unit] = period
        return allowance.reset_s <= _LONGEST_RESET_S and period >= _SHORTEST_PERIOD_S

    def _keep(self, allowance: Allowance, sending: Sending, now: float) -> None:
        rate = self._limiter.rate(allowance.unit)
        if rate is not None and rate.limit != self._kept.get(allowance.unit):
            self._configured[allowance.unit] = None if rate.announced else rate.limit  # somebody set it meanwhile
        configured = self._configured[allowance.unit]
        limit = allowance.limit if configured is None else min(configured, allowance.limit)
        left = self._left(allowance, sending, now)
        if rate is None:
            if left > allowance.limit / 2:
                return
            rate = self._begin(allowance, now)
        elif rate.limit != limit:
            rate.resize(limit)
        self._kept[allowance.unit] = limit
        rate.put_off(-left * WINDOW_S / allowance.limit)

    def _begin(self, allowance: Allowance, now: float) -> RateLike:
        """A rate of the endpoint from here on, which knows what was sent in the last minute."""
        rate = Rate(allowance.limit, allowance.unit, self._limiter.owner, announced=True)
        if allowance.unit == "tokens":
            rate.enter_past(now, allowance.limit - allowance.remaining)
        for at in self._recent or () if allowance.unit == "requests" else ():
            if at > now - WINDOW_S:
                rate.enter_past(at, 1)
        self._limiter.announce(rate)
        logging.getLogger(__name__).info(
            "%s: the server allows %d %s a minute, and gets no more", self._limiter.owner, rate.limit, rate.unit
        )
        return rate

    def _left(self, allowance: Allowance, sending: Sending, now: float) -> float:
        """How much is left when what came back and what went out since that request was sent is taken in."""
        since = self._requests - sending.requests if allowance.unit == "requests" else self._tokens - sending.tokens
        back = (now - sending.at) * allowance.limit / WINDOW_S
        return allowance.remaining + back - since

    def _let_go(self, allowance: Allowance) -> None:
        """It was taken for a limit per minute, and is none."""
        rate = self._limiter.rate(allowance.unit)
        if rate is not None and rate.announced:
            self._limiter.withdraw(rate)
        elif rate is not None and self._configured[allowance.unit] is not None:
            rate.resize(self._configured[allowance.unit] or rate.limit)
