"""A rate limit as an endpoint enforces it: so many requests and tokens in any window of time."""

from __future__ import annotations

from collections import deque

from agentbatch.mock_server.settings import MockServerSettings
from agentbatch.record import record


@record
class Quota:
    """One limit: per minute, left in the window, and seconds until all of it is back."""

    limit: int
    remaining: int
    reset_s: float


@record
class Standing:
    """What is left of both limits; None where there is none."""

    requests: Quota | None
    tokens: Quota | None


class RateLimit:
    """Counts what it admits. Refused requests cost nothing. Times are seconds of any steady clock."""

    def __init__(self, settings: MockServerSettings) -> None:
        self._window = settings.window
        self._rpm, self._tpm = settings.rpm, settings.tpm
        self._most_requests = _share(settings.rpm, settings.window)
        self._most_tokens = _share(settings.tpm, settings.window)
        self._admitted: deque[tuple[float, int]] = deque()
        self._tokens = 0
        self.unlimited = settings.rpm is None and settings.tpm is None

    def admit(self, now: float, tokens: int) -> float:
        """Let a request of so many tokens pass and return 0, or return the seconds after which it would pass."""
        if self.unlimited:
            return 0.0
        self._forget(now)
        wait = self._wait(now, tokens)
        if wait == 0.0:
            self._admitted.append((now, tokens))
            self._tokens += tokens
        return wait

    def standing(self, now: float) -> Standing:
        """What is left."""
        self._forget(now)
        reset = self._admitted[-1][0] + self._window - now if self._admitted else 0.0
        requests, tokens = None, None
        if self._rpm is not None and self._most_requests is not None:
            requests = Quota(self._rpm, max(0, self._most_requests - len(self._admitted)), reset)
        if self._tpm is not None and self._most_tokens is not None:
            tokens = Quota(self._tpm, max(0, self._most_tokens - self._tokens), reset)
        return Standing(requests, tokens)

    def _wait(self, now: float, tokens: int) -> float:
        count, used = len(self._admitted), self._tokens
        if self._fits(count, used, tokens):
            return 0.0
        for admitted_at, cost in self._admitted:
            count, used = count - 1, used - cost
            if self._fits(count, used, tokens):
                return max(0.001, admitted_at + self._window - now)
        return 0.0

    def _fits(self, count: int, used: int, tokens: int) -> bool:
        if count == 0:
            return True  # a request larger than the limit itself passes where nothing else does
        few = self._most_requests is None or count < self._most_requests
        return few and (self._most_tokens is None or used + tokens <= self._most_tokens)

    def _forget(self, now: float) -> None:
        while self._admitted and self._admitted[0][0] <= now - self._window:
            self._tokens -= self._admitted.popleft()[1]


def _share(per_minute: int | None, window: float) -> int | None:
    return None if per_minute is None else max(1, int(per_minute * window / 60))
