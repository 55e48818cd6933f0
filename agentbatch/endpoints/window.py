"""How many requests an endpoint takes at once, learnt from which it refuses.

A refusal says little by itself: providers refuse a few requests at random. But when most of the requests that were
sent with so many, or more, in flight come back refused, then so many are too many: the window is set below. Each
refusal also takes one place away until the good answer to a later request gives it back, so a storm of refusals is not
answered by a storm of requests. The window doubles every few milliseconds until its first cut, then grows by one for
every window's worth of good answers, ever more rarely while that keeps failing, ever faster while it does not.

Additive increase after a cut is Chiu and Jain's (https://doi.org/10.1016/0169-7552(89)90019-6), the fast start TCP's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from math import exp, log
from operator import attrgetter
from typing import Literal

Refusal = Literal["of everything", "of one too many", "of some"]
"""What is refused: whatever is sent, so that there is no point in sending less, only later; the one by which more were
sent than are known to be taken; or one of many."""

START = 200
"""In flight until the first good answer, where more are allowed: a server that takes fewer refuses few."""

_WIDEST_STEP = 400
"""Thousands let in at once would keep the event loop from everything else while they set out."""

_AUTO_START = 8
_REMEMBERED = 400
_EVIDENCE = 3
"""So many refusals at least before the window is cut: the few that reach the highest level may be unlucky."""

_MANY_REFUSED = 8
_MANY_SHARE = 4
"""So many refusals in a row, and one of so many requests at least: that is no bad luck."""

_RAREST_PROBE = 8
_RARELY = 60
"""Probes that fail come once in so many windows' worth of good answers, and in so many answers: few are refused."""

_FORGET = 1.00002
"""Per answer: the quickest that was ever seen is believed a little less each time, for a server may change."""

_GENTLE = 4
"""So many good answers for one place more."""

_SHORTEST_ROUND = 16
"""Answers. Long ones take many times as long as short ones: only the usual of some says anything."""

_SLOWER = 2.0
_SLOW = 3.0
"""Answers that take so many times as long as they did at best: the server has begun to queue."""

_ENOUGH_LESS = 0.7
_NO_QUICKER = 0.85
"""Where so many times as many in flight leave answers nearly as slow, they are not slow because of their number."""


@dataclass(slots=True, eq=False)
class Sent:
    """One request under way: how many were in flight with it, and, later, whether it was refused."""

    level: int
    refused: bool | None = None
    number: int = 0
    """Counted from 1 in the order of sending."""


_level = attrgetter("level")


class Window:
    """At most `limit`; `size` is how many may be in flight now. With `auto` it also shrinks when answers get slow."""

    def __init__(self, limit: int, *, auto: bool = False) -> None:
        self.limit = limit
        self._auto = auto
        self._open = min(limit, _AUTO_START if auto else START)
        self._sent = 0
        self._owed: deque[int] = deque()
        """For each place taken away, how many requests had been sent by then."""
        self._evidence = 1 if limit < _EVIDENCE else _EVIDENCE
        self._recent: deque[Sent] = deque(maxlen=_REMEMBERED)
        self._floor = 0
        """Below this only a cut leads; 0 while no limit is known."""
        self._gently = False
        """Whether it grows with care while no limit is known: one seemed to be known before."""
        self._stepped_at = 0
        """How many requests had been sent at the last cut or step back."""
        self._settled = False
        """Whether one that was sent after it has been answered: refusals before that say nothing new."""
        self._last_step = 1
        """By how much it was widened last."""
        self._just_cut = False
        """Whether what is open now is what the levels said, and not yet what was seen to be taken at once."""
        self.first_cuts = 0
        """How often it opened too far, not knowing a limit, while the server went on to work on what it had taken."""
        self._survey_of = 0
        """At a refusal: how many requests had been sent by then; 0 when no survey is under way."""
        self._refused_in_a_row = 0
        """Since the last good answer."""
        self._credit = 0
        self._clean = 0
        self._probe_every = 1
        self._quickest_s = float("inf")
        """What an answer usually took in the quickest round; a round is a window's worth of answers, less at first."""
        self._logs_in_round = 0.0
        self._timed = 0
        self._slowness = 1.0
        """How many times as long answers took in the last round as in the quickest."""
        self._slow_at: tuple[int, float] | None = None
        """How many were in flight when answers were found to be slow, and how long they took."""

    @property
    def size(self) -> int:
        return max(1, self._open - len(self._owed))

    @property
    def open_to(self) -> int:
        """How many may be in flight when nobody was refused lately."""
        return self._open

    @property
    def sent(self) -> int:
        """How many requests have been sent: the number of the last."""
        return self._sent

    def send(self, in_flight: int) -> Sent:
        """A request goes out, the `in_flight`-th."""
        self._sent += 1
        sent = Sent(in_flight, number=self._sent)
        self._recent.append(sent)
        return sent

    def open_wider(self) -> bool:
        """Good answers come, and nobody was refused for some time: open twice as wide, without waiting for them all.

        Returns whether there is more to open.
        """
        if self._auto or self._floor or self._owed or self._open >= self.limit:
            return False
        self._open = min(self.limit, 2 * self._open, self._open + _WIDEST_STEP)
        return self._open < self.limit

    def on_answer(self, sent: Sent, seconds: float) -> None:
        """It was answered well, in so many seconds."""
        sent.refused = False
        self._settled = self._settled or sent.number > self._stepped_at
        if self._survey_of:
            self._survey(sent)
        if self._owed and sent.number > self._owed[0]:
            self._owed.popleft()
        if self._auto:
            self._time(seconds)
        if self._open < self.limit and self._slowness < _SLOWER:
            self._widen()

    def on_refusal(self, sent: Sent) -> Refusal:
        """It was refused; returns what seems to be."""
        sent.refused = True
        if self._floor and sent.level > self._open and sent.number <= self._stepped_at:
            return "of some"  # of the burst that led to the last cut: no news
        one_too_many = bool(self._floor) and self._settled and sent.level >= self._open
        self._survey_of = self._survey_of or self._sent
        self._refused_in_a_row += 1
        down_to_one = len(self._owed) >= self._open - 1
        self._owed.append(self._sent)
        self._owe_at_most(self._open - 1)
        level = self._too_many(sent.level)
        if level is not None:
            self._cut(level - 1)
        elif self._floor and self._settled:
            self._step_back()
        if sent.level <= 1:
            self._probe_every = 1  # none at all are taken now: earlier probes say nothing of what will be
        if down_to_one or (level is not None and level <= 1):
            return "of everything"
        return "of one too many" if one_too_many else "of some"

    def resize(self, limit: int) -> None:
        """Another limit. Where a narrower one was found, the way up is as slow as ever."""
        self.limit = limit
        self._open = min(limit, self._open if self._floor or self._auto else max(self._open, START))
        self._evidence = 1 if limit < _EVIDENCE else _EVIDENCE
        self._owe_at_most(self._open - 1)

    def restart(self, size: int) -> None:
        """After an outage: begin again with so many."""
        self._open = max(1, min(self.limit, size))
        self._owed.clear()
        self._recent.clear()
        self._survey_of = self._refused_in_a_row = 0

    def _too_many(self, level: int) -> int | None:
        """The lowest level, at most this one, from which on most requests were refused; None where there is none."""
        lowest = None
        total = refused = 0
        ranked = sorted(self._recent, key=_level, reverse=True)
        for at, sent in groupby(ranked, key=_level):
            verdicts = [each.refused is True for each in sent]
            total += len(verdicts)
            refused += sum(verdicts)
            if any(verdicts) and at <= level and refused >= self._evidence and refused * 2 > total:
                lowest = at
        return lowest

    def _cut(self, size: int) -> None:
        if size < self._open:
            under_way = [each for each in self._recent if each.refused is None]
            if self._auto and not self._floor and len(self._recent) < _REMEMBERED:
                size = min(size, max(len(under_way), size // 2))  # it grew on while answers were under way
            self._open = max(1, size)
            self._just_cut = True
            self._owed.clear()
            self._recent = deque(under_way, maxlen=_REMEMBERED)
            self.first_cuts += not self._floor and len(self._recent) * 2 >= self._open
        self._know_limit()
        self._begin_round()
        self._end_growth()

    def _survey(self, answered: Sent) -> None:
        """The first good answer after a refusal: refusals are quicker, so what is still under way was taken with it.

        That many the server takes, whatever the levels say: on their way requests overtake each other. Of refusals at
        random good answers come in between.
        """
        sent_by_then, self._survey_of = self._survey_of, 0
        refused, self._refused_in_a_row = self._refused_in_a_row, 0
        if answered.number > sent_by_then:
            return
        taken = 1 + sum(each.refused is None and each.number <= sent_by_then for each in self._recent)
        if self._floor and (taken > self._open or self._just_cut):
            self._just_cut = False
            self._open = min(self.limit, taken)
            self._owed.clear()
            self._know_limit()
        elif refused >= _MANY_REFUSED and refused * _MANY_SHARE >= refused + taken:
            self._cut(taken)

    def _know_limit(self) -> None:
        """It is about what is open now."""
        self._floor = max(1, min(self._open - 3, self._open * 9 // 10))

    def _step_back(self) -> None:
        """One refusal, where it is known that there is a limit: the last step was one too far.

        A limit would hardly refuse on when a tenth less is sent: then what led to the cut was chance.
        """
        if 1 < self._open <= self._floor:
            self._floor = self._credit = 0
            self._gently = True
            return
        self._begin_round()
        self._open = max(self._floor, self._open - self._last_step)
        self._last_step = 1
        self._owe_at_most(self._open - 1)
        self._end_growth()

    def _begin_round(self) -> None:
        self._stepped_at = self._sent
        self._settled = False

    def _owe_at_most(self, places: int) -> None:
        while len(self._owed) > places:
            self._owed.popleft()

    def _end_growth(self) -> None:
        self._probe_every = min(_RAREST_PROBE, self._probe_every * 2) if self._clean <= 1 else 1
        self._credit = self._clean = 0

    def _widen(self) -> None:
        if not self._floor and not self._gently:
            self._open = min(self.limit, self._open + (1 if self._auto else 2))
            return
        if self._open < self._floor:  # after an outage, back to what was taken before it
            self._open = min(self._floor, self._open + 2)
            return
        self._credit += 1
        if not self._floor:
            if self._credit >= _GENTLE:
                self._credit = 0
                self._open += 1
            return
        if self._credit >= max(self._open * self._probe_every, _RARELY if self._probe_every == _RAREST_PROBE else 0):
            self._credit = 0
            self._last_step = 1 << min(self._clean, 6)
            self._open = min(self.limit, self._open + self._last_step)
            self._clean += 1
            if self._clean > 1:
                self._probe_every = 1

    def _time(self, seconds: float) -> None:
        """Take in how long an answer took; at the end of a round, compare with the quickest. Geometric means, for a few
        answers that take very long are the way of models."""
        self._logs_in_round += log(max(seconds, 0.01))
        self._timed += 1
        if self._timed < max(_SHORTEST_ROUND, self._open if self._floor else 0):
            return
        usual_s = exp(self._logs_in_round / self._timed)
        self._quickest_s = min(self._quickest_s * _FORGET**self._timed, usual_s)
        self._slowness = usual_s / self._quickest_s
        self._logs_in_round, self._timed = 0.0, 0
        if self._slowness > _SLOWER and not self._floor:
            self._know_limit()
        if self._slowness > _SLOW:
            self._narrow_slowly(usual_s)
        else:
            self._slow_at = None

    def _narrow_slowly(self, usual_s: float) -> None:
        self._credit = self._clean = 0
        open_then, usual_then_s = self._slow_at or (self._open, 0.0)
        usual_then_s = max(usual_then_s, usual_s)  # answers show late what was sent
        self._slow_at = open_then, usual_then_s
        if self._open > max(_AUTO_START, _ENOUGH_LESS * open_then):
            self._open = max(_AUTO_START, self._open - max(1, self._open // 10))
            self._know_limit()
        elif self._open <= _AUTO_START or usual_s > _NO_QUICKER * usual_then_s:
            self._quickest_s, self._slowness, self._slow_at = usual_s, 1.0, None  # what is asked takes longer now
        else:
            self._slow_at = None  # so it helps: go on
