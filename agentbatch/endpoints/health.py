"""What an endpoint's answers say about the endpoint as a whole: who waits, who is excused, when the run must end.

Pure bookkeeping: it is told each outcome and the time, and answers with a `Verdict`; the endpoint acts on it.

- A refusal (429) among many good answers is that request's luck. Refusals together, or a long wait that the server
  asks for, pause the whole endpoint, and the number in flight is cut.
- Failures of many different requests in a row, after the endpoint had worked, are an outage: one probe at a time until
  it answers again, and the failures don't use up the retries of the requests they hit. A row ends with a good answer
  to a request that was sent after it began. And most of what was sent since must have failed: after a burst, what
  fails at once is heard before any good answer.
- Where another model can be asked, nobody waits here for long: see `impatient`.
- A refused key or an empty account does not pass: the run ends, its items stay to do.
"""

from __future__ import annotations

from agentbatch.endpoints.window import Sent, Window
from agentbatch.errors import (
    AuthFault,
    BadContent,
    ConnectionFault,
    Overloaded,
    QuotaFault,
    RateLimited,
    StepError,
    StepTimeout,
)
from agentbatch.record import record

LONG_WAIT_S = 10.0
"""A server that asks for so much means everyone, not one request."""

PATIENCE_S = 60.0
"""How long an endpoint may give no good answer before requests are given up because of it."""

IMPATIENCE_S = 5.0
"""The same where another model can be asked: so long a request waits for this one."""

_PROBES_OF_HANGING = 8
"""Probes at a time where nothing is refused, only left without an answer: each takes its whole timeout."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_AFTER_OUTAGE = 4
_MOST_GIVEN_UP = 20


@record
class Verdict:
    """What to do after a failure.

    `pause_s`: let nobody in for so long. `excused`: the failure does not count against the request's retries. `soon`:
    it needs no long rest, for fewer are sent now. `give_up`: there is no use in another attempt. `stop`: why the run
    has to end.
    """

    pause_s: float = 0.0
    excused: bool = False
    soon: bool = False
    give_up: bool = False
    stop: str | None = None


class Health:
    """The state of one endpoint. `window` says how many may be in flight now; with `others` to take its place it is
    given up for a while sooner, and an `impatient` one leaves refused requests to another model after 5 s."""

    def __init__(self, name: str, window: Window, *, others: bool = False, impatient: bool = False) -> None:
        self.name = name
        self._others = others
        self._impatient = impatient
        self.window = window
        self.succeeded = False
        self.outage = False
        self._row_from = 0
        """The number of the earliest request of the present row of failures; 0 where there is none."""
        self._row = self._fresh_in_row = 0
        self._cut_off = False
        self._failures = 0
        """Since the last good answer, of any kind."""
        self._unreachable = 0
        self._denied = 0
        self._given_up = 0
        self._pauses = 0
        self._troubled_since: float | None = None
        self._patience_s = self._at_first_s = IMPATIENCE_S if impatient else PATIENCE_S
        self._paused_until = 0.0
        self._hangs = False
        """Whether the last fault was an attempt without an answer."""

    @property
    def size(self) -> int:
        """How many may be in flight: one at a time, or a few, while it must show that it works."""
        if not self.on_trial:
            return self.window.size
        hangs = self._hangs and self.outage and not self._denied and not self._cut_off
        return min(_PROBES_OF_HANGING, self.window.limit) if hangs else 1

    @property
    def on_trial(self) -> bool:
        """Whether it must show that it works."""
        return self.outage or bool(self._denied) or self._cut_off

    def open_wider(self) -> bool:
        """As `Window.open_wider`; while anything is wrong, the window grows by good answers alone."""
        return self._troubled_since is None and not self._denied and self.window.open_wider()

    def on_success(self, sent: Sent, seconds: float) -> None:
        """A whole, valid answer came, after so many seconds."""
        began_before = sent.number < self._row_from
        if self.outage and began_before:  # it was on its way, and does not say that the outage is over
            self.window.on_answer(sent, seconds)
            return
        if self.outage:
            self.window.restart(_AFTER_OUTAGE)
        self.window.on_answer(sent, seconds)
        self.succeeded = True
        if not began_before:
            self.outage = False
            self._end_row()
        self._failures = self._unreachable = self._denied = self._pauses = 0
        self._given_up = 0
        self._cut_off = False
        self._troubled_since = None
        self._patience_s = self._at_first_s

    def _end_row(self) -> None:
        self._row = self._fresh_in_row = self._row_from = 0

    def on_failure(self, error: StepError, sent: Sent, *, first_attempt: bool, now: float) -> Verdict:
        """A request failed. `now` is loop time in seconds; `first_attempt` tells fresh requests from retries."""
        sent.refused = False
        if isinstance(error, AuthFault | QuotaFault):
            return self._on_denial(error)
        if not error.retryable:  # the endpoint is well: it declined this one request
            self._failures = self._unreachable = self._denied = 0
            self._end_row()
            self._cut_off = False
            return Verdict()
        if self._troubled_since is None:
            self._troubled_since = now
        if isinstance(error, RateLimited):
            return self._on_refusal(error, sent, now)
        return self._on_fault(error, sent, first_attempt, now)

    def _on_denial(self, error: StepError) -> Verdict:
        self._denied += 1
        enough = min(5, self.window.limit)
        if error.http_status == 403 or self.succeeded:  # may be about one request only
            enough = 5
        if self._denied >= enough:
            row = f" ({self._denied} requests in a row)" if self._denied > 1 else ""
            return Verdict(stop=f"{self.name}: {error.type}: {error.message}{row}")
        return Verdict()

    def _on_refusal(self, error: StepError, sent: Sent, now: float) -> Verdict:
        asked = error.retry_after or 0.0
        if not self._impatient:
            self._patience_s = max(self._patience_s, 4 * asked)
        refused = self.window.on_refusal(sent)
        if self._out_of_patience(now):
            return self._give_up(error, asked)
        if asked < LONG_WAIT_S and refused != "of everything":
            return Verdict(excused=True, soon=refused == "of one too many")
        return Verdict(pause_s=max(asked, self._pause_s(now)), excused=True)

    def _give_up(self, error: StepError, asked: float) -> Verdict:
        """It has refused everything for so long that a request's turn is over; after some of them, the run's is."""
        if self._impatient:
            return Verdict(pause_s=max(asked, _LONGEST_PAUSE_S), give_up=True)
        self._given_up += 1
        if self._given_up >= _MOST_GIVEN_UP:
            return Verdict(stop=f"{self.name} has refused every request for {self._patience_s:.0f} s: {error.message}")
        return Verdict(pause_s=max(asked, _FIRST_PAUSE_S), give_up=True)

    def _on_fault(self, error: StepError, sent: Sent, first_attempt: bool, now: float) -> Verdict:
        if isinstance(error, Overloaded):
            self.window.on_refusal(sent)
        self._failures += 1
        self._hangs = isinstance(error, StepTimeout)
        self._unreachable += isinstance(error, ConnectionFault) and error.unreachable
        stop = self._hopeless(error, now)
        if stop is not None:
            return Verdict(stop=stop)
        if not isinstance(error, BadContent):
            self._lengthen_row(sent, first_attempt)
        if not self.outage and not self._cut_off:
            return Verdict()
        return Verdict(pause_s=self._pause_s(now), excused=self.outage and not self._out_of_patience(now))

    def _lengthen_row(self, sent: Sent, first_attempt: bool) -> None:
        self._row += 1
        self._fresh_in_row += first_attempt
        self._row_from = min(self._row_from or sent.number, sent.number)
        most = 3 * self._row >= 2 * (self.window.sent - self._row_from + 1)
        self._cut_off = self._cut_off or (self._unreachable >= 3 and (most or not self.succeeded))
        self.outage = self.outage or (most and self._is_long())

    def _is_long(self) -> bool:
        """Whether the row is too long to be an accident."""
        limit = self.window.limit
        if self._others:
            return self._row >= min(10, max(3, limit // 4))
        return self.succeeded and self._fresh_in_row >= max(3, min(8, limit), self.window.open_to // 4)

    def _hopeless(self, error: StepError, now: float) -> str | None:
        """Why to end the run: the endpoint has never worked, and shows no sign that it will."""
        since = now - (self._troubled_since or now)
        if self.succeeded:
            return None
        if self._unreachable >= 10 and since >= 3.0:
            return f"{self.name} can't be reached: {error.message}"
        if self._failures >= 100 and since >= 5.0:
            return f"{self.name} has given no good answer in {self._failures} requests: {error.message}"
        return None

    def _pause_s(self, now: float) -> float:
        """Twice the last pause, where that one is over: what fails meanwhile was sent before it began."""
        if now >= self._paused_until:
            self._pauses += 1
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 10))
        self._paused_until = now + pause
        return pause

    def _out_of_patience(self, now: float) -> bool:
        return self._troubled_since is not None and now - self._troubled_since > self._patience_s
