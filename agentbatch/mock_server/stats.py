"""What the server saw: the numbers behind `GET /stats`."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from agentbatch.messages import Usage


class Stats:
    """Counts requests for answers; `/stats` and its like do not count themselves."""

    def __init__(self) -> None:
        self._requests = 0
        self.in_flight = 0
        self._peak = 0
        self._by_status: Counter[str] = Counter()
        self._by_reason: Counter[str] = Counter()
        self._per_second: Counter[int] = Counter()
        self._input_tokens = 0
        self._output_tokens = 0
        self._seen: set[bytes] = set()
        self._answered: Counter[bytes] = Counter()
        self._repeated = 0
        self._batches = self._batched = 0
        self._traced = 0
        self._traces: set[str] = set()
        self._first = 0.0
        self._last = 0.0
        self._began = 0.0

    def arrived(self, traceparent: str | None) -> int:
        """A request came. Returns its number, from 1."""
        now = time.perf_counter()
        if self._requests == 0:
            self._first, self._began = time.time(), now
        self._requests += 1
        self._last = now
        self._per_second[int(now - self._began)] += 1
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        if traceparent is not None:
            self._traced += 1
            self._traces.add(traceparent[3:35])
        return self._requests

    def understood(self, key: bytes) -> None:
        """It could be read; `key` stands for all of its content."""
        if key in self._seen:
            self._repeated += 1
        self._seen.add(key)

    def answered(self, key: bytes, usage: Usage) -> None:
        """A whole, good answer went out: the kind that costs money."""
        self._answered[key] += 1
        self._input_tokens += usage.input_tokens
        self._output_tokens += usage.output_tokens

    def batch(self, requests: int) -> None:
        """A batch of so many requests was made."""
        self._batches += 1
        self._batched += requests

    def left(self, status: int, reason: str | None) -> None:
        """It is done with: its status, 0 where it got none, and why it was refused or broken if it was."""
        self.in_flight -= 1
        self._by_status[str(status)] += 1
        if reason is not None:
            self._by_reason[reason] += 1

    def report(self) -> dict[str, Any]:
        """All of it as JSON. Times are UTC; `per_second` counts from the first request."""
        paid = self._answered.values()
        return {
            "requests": self._requests,
            "by_status": dict(self._by_status),
            "by_reason": dict(self._by_reason),
            "in_flight": self.in_flight,
            "peak_in_flight": self._peak,
            "tokens": {"input": self._input_tokens, "output": self._output_tokens},
            "per_second": {str(second): count for second, count in sorted(self._per_second.items())},
            "first_at": _utc(self._first) if self._requests else None,
            "last_at": _utc(self._first + self._last - self._began) if self._requests else None,
            "distinct_prompts": len(self._seen),
            "repeated_prompts": self._repeated,
            "answered": sum(paid),
            "answered_again": sum(paid) - len(paid),
            "batches": self._batches,
            "batched_requests": self._batched,
            "traceparents": self._traced,
            "distinct_traces": len(self._traces),
        }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
