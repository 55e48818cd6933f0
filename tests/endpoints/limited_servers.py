"""Servers that allow so many requests a minute, each in a way of its own, and say so in headers or do not."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from agentbatch.errors import RateLimited
from agentbatch.messages import ChatRequest, ChatResponse, Usage

Verdict = tuple[bool, int, float]
"""Whether the request is let in, how many more would be, and in how many seconds all are back."""


class SlidingMinute:
    """At most N in any 60 s."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._let_in: deque[float] = deque()

    def judge(self, now: float) -> Verdict:
        while self._let_in and self._let_in[0] <= now - 60:
            self._let_in.popleft()
        good = len(self._let_in) < self.limit
        if good:
            self._let_in.append(now)
        return good, self.limit - len(self._let_in), self._let_in[-1] + 60 - now


class CalendarMinute:
    """At most N in each minute of the clock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._minute = -1
        self._count = 0

    def judge(self, now: float) -> Verdict:
        if int(now // 60) != self._minute:
            self._minute, self._count = int(now // 60), 0
        good = self._count < self.limit
        self._count += good
        return good, self.limit - self._count, 60 - now % 60


class Bucket:
    """N a minute flow into a bucket that holds `depth` (by default N)."""

    def __init__(self, limit: int, depth: float | None = None) -> None:
        self.limit = limit
        self._depth = self._level = float(limit) if depth is None else depth
        self._at = 0.0

    def judge(self, now: float) -> Verdict:
        if self._at:
            self._level = min(self._depth, self._level + (now - self._at) * self.limit / 60)
        self._at = now
        good = self._level >= 1
        self._level -= good
        return good, int(self._level), (self._depth - self._level) * 60 / self.limit


def openai_headers(limit: int, left: int, reset_s: float) -> Mapping[str, str]:
    reset = (
        f"{int(reset_s // 60)}m{math.ceil(reset_s % 60)}s" if reset_s >= 60 else f"{max(1, round(reset_s * 1000))}ms"
    )
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": reset,
    }


def anthropic_headers(limit: int, left: int, reset_s: float) -> Mapping[str, str]:
    reset = datetime.fromtimestamp(time.time(), UTC) + timedelta(seconds=reset_s)
    return {
        "anthropic-ratelimit-requests-limit": str(limit),
        "anthropic-ratelimit-requests-remaining": str(left),
        "anthropic-ratelimit-requests-reset": reset.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def no_headers(limit: int, left: int, reset_s: float) -> Mapping[str, str]:
    return {}


class LimitedServer:
    """Refuses at once, or answers after `latency` seconds."""

    name, provider = "limited", "test"

    def __init__(
        self,
        rule: SlidingMinute | CalendarMinute | Bucket,
        headers: Callable[[int, int, float], Mapping[str, str]] = no_headers,
        latency: float = 0.5,
        others_every_s: float = 0.0,
    ) -> None:
        self.rule = rule
        self._headers = headers
        self._latency = latency
        self._others_every_s = others_every_s
        self._others_at = 0.0
        self.answered: list[float] = []
        self.refused: list[float] = []

    async def chat(self, request: ChatRequest) -> ChatResponse:
        now = asyncio.get_running_loop().time()
        self._let_others_ask(now)
        good, left, reset_s = self.rule.judge(now)
        headers = self._headers(self.rule.limit, left, reset_s)
        if not good:
            self.refused.append(now)
            raise RateLimited("429: slow down", http_status=429, headers=headers)
        self.answered.append(now)
        await asyncio.sleep(self._latency)
        return ChatResponse("ok", usage=Usage(10, 5, 1), headers=headers)

    def _let_others_ask(self, now: float) -> None:
        """Somebody else uses the same key."""
        if self._others_every_s:
            self._others_at = self._others_at or now
            while self._others_at <= now:
                self.rule.judge(self._others_at)
                self._others_at += self._others_every_s
