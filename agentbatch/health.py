"""What an endpoint's answers say about the endpoint as a whole: who waits, who is excused, when the run must end.

Pure bookkeeping: it is told each outcome and the time, and answers with a `Verdict`; the endpoint acts on it.

- A refusal (429) among many good answers is that request's luck. Refusals together, or a long wait that the server
  asks for, pause the whole endpoint, and the number in flight is cut.
- Failures of many different requests in a row, after the endpoint had worked, are an outage: one probe at a time until
  it answers again, and the failures don't use up the retries of the requests they hit.
- A refused key or an empty account does not pass: the run ends, its items stay to do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from agentbatch.errors import AuthFault, ConnectionFault, Overloaded, QuotaFault, RateLimited, StepError

LONG_WAIT_S = 10.0
"""A server that asks for so much means everyone, not one request."""

PATIENCE_S = 60.0
"""How long an endpoint may give no good answer before its failures are the requests' own again."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after a failure.

    `pause_s`: let nobody in for so long. `excused`: the failure does not count against the request's retries.
    `stop`: why the run has to end.
    """

    pause_s: float = 0.0
    excused: bool = False
    stop: str | None = None


class Health:
    """The state of one endpoint. `window` is how many may be in flight now, at most `limit`."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.window = limit
        self.succeeded = False
        self.outage = False
        self._recent: deque[bool] = deque(maxlen=20)
        self._fresh_failures = 0
        self._failures = 0
        self._unreachable = 0
        self._denied = 0
        self._pauses = 0
        self._troubled_since: float | None = None
        self._patience_s = PATIENCE_S
        self._cut_at = -1.0

    @property
    def trouble(self) -> bool:
        """Whether a good answer changes anything about who may enter."""
        return self.window < self.limit

    def on_success(self) -> None:
        """A whole, valid answer came."""
        if self.outage or self._denied:
            self.window = max(self.window, min(self.limit, 4 if self.outage else self.limit))
        self.succeeded = True
        self.outage = False
        self._recent.append(False)
        self._fresh_failures = self._failures = self._unreachable = self._denied = self._pauses = 0
        self._troubled_since = None
        self._patience_s = PATIENCE_S
        if self.window < self.limit:
            self.window += 1

    def on_failure(self, error: StepError, *, first_attempt: bool, now: float) -> Verdict:
        """A request failed. `now` is loop time in seconds; `first_attempt` tells fresh requests from retries."""
        if isinstance(error, AuthFault | QuotaFault):
            return self._on_denial(error)
        if not error.retryable:  # the endpoint is well: it declined this one request
            self._fresh_failures = self._failures = self._unreachable = self._denied = 0
            return Verdict()
        if self._troubled_since is None:
            self._troubled_since = now
        if isinstance(error, RateLimited):
            return self._on_refusal(error, now)
        return self._on_fault(error, first_attempt, now)

    def _on_denial(self, error: StepError) -> Verdict:
        self._denied += 1
        enough = min(5, self.limit)
        if error.http_status == 403 or self.succeeded:  # may be about one request only
            enough = 5
        if self._denied >= enough:
            return Verdict(stop=f"model {self.name}: {error.type}: {error.message} ({self._denied} times in a row)")
        self.window = 1
        return Verdict()

    def _on_refusal(self, error: StepError, now: float) -> Verdict:
        self._recent.append(True)
        asked = error.retry_after or 0.0
        self._patience_s = max(self._patience_s, 4 * asked)
        excused = not self._out_of_patience(now)
        if asked < LONG_WAIT_S and not self._correlated():
            return Verdict(excused=excused)
        self._cut(now)
        self._pauses += 1
        return Verdict(pause_s=max(asked, self._pause_s()), excused=excused)

    def _correlated(self) -> bool:
        """Half of the last answers were refusals; of how many depends on how many are in flight."""
        span = max(1, min(20, self.limit // 2))
        latest = list(self._recent)[-span:]
        return sum(latest) * 2 >= span

    def _cut(self, now: float) -> None:
        """Halve what may be in flight, once for all refusals of the same moment."""
        if now - self._cut_at > 0.2:
            self._cut_at = now
            self.window = max(1, self.window // 2)

    def _on_fault(self, error: StepError, first_attempt: bool, now: float) -> Verdict:
        self._recent.append(isinstance(error, Overloaded))
        self._failures += 1
        self._fresh_failures += first_attempt
        self._unreachable += isinstance(error, ConnectionFault) and error.unreachable
        stop = self._hopeless(error, now)
        if stop is not None:
            return Verdict(stop=stop)
        if not self.outage and self.succeeded and self._fresh_failures >= min(10, max(3, self.limit // 4)):
            self.outage = True
        if not self.outage and self._unreachable < 3:
            return Verdict()
        self.window = 1
        self._pauses += 1
        return Verdict(pause_s=self._pause_s(), excused=self.outage and not self._out_of_patience(now))

    def _hopeless(self, error: StepError, now: float) -> str | None:
        """Why to end the run: the endpoint has never worked, and shows no sign that it will."""
        since = now - (self._troubled_since or now)
        if self.succeeded:
            return None
        if self._unreachable >= 10 and since >= 3.0:
            return f"model {self.name} can't be reached: {error.message}"
        if self._failures >= 100 and since >= 5.0:
            return f"model {self.name} has given no good answer in {self._failures} requests: {error.message}"
        return None

    def _pause_s(self) -> float:
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 10))

    def _out_of_patience(self, now: float) -> bool:
        return self._troubled_since is not None and now - self._troubled_since > self._patience_s
