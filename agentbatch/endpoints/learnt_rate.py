"""How many requests a minute a server takes that does not say so: learnt from what it takes and what it refuses.

A limit in flight is the window's business, and where answers take long a window keeps a rate as well. But a server that
lets in one request a second and answers at once refuses every other one, however few are in flight. So where many are
refused for ten seconds on end, sending is paced to what was taken in the meantime; the pace is raised while nothing is
refused, by more each time, and lowered a little at a refusal. Where pacing does not help, refusals are that server's
way, and it is let go.
"""

from __future__ import annotations

from collections import deque

from agentbatch.limits import WINDOW_S, Limiter, Rate

_TICK_S = 5.0
_TICKS_A_REVIEW = 2
_TICKS_KEPT = 12
"""A minute: limits are per minute, however they are enforced."""

_MANY = 0.08
_FEW = 0.02
"""Shares of refused requests: from the one on a pace is needed, up to the other it is right."""

_ANSWERS_TO_SETTLE = 4
"""One after the other: so long the number in flight may need to fit what the server takes."""

_SHARE_OF_ONE = 0.05
_LEAST_REFUSALS = 10
_CUT = 0.985
_CUTS_A_REVIEW = 3
_FIRST_STEP = 0.03
_LONGEST_STEP = 0.5
_BETWEEN_STEPS = 100
"""So many answers at least before the pace is raised again: a step too far costs a refusal or two."""

_NEXT_TRY_S = 300.0
_LONGEST_S = 900.0
"""Then it is let go and, where still needed, learnt anew: refusals at random must not hold a pace down for ever."""


class LearntRate:
    """The learnt limit of one endpoint, part of its `limiter` while it is needed. Times are loop time in seconds."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_TICKS_KEPT)
        """How many requests were taken, and how many refused, in each of the last ticks."""
        self._trouble = 0
        """For how many of them on end some were refused."""
        self._taken = self._refused = self._failed = 0
        self._tick_ends = 0.0
        self._usual_s = 0.0
        """What good answers take, about."""
        self._reviews = 0
        self._rate: Rate | None = None
        self._share_before = 1.0
        self._helps = False
        self._since_refusal = 0
        self._step = _FIRST_STEP
        self._ceiling = 0
        """The pace at which it was last refused."""
        self._estimate = 0
        """What it was last reckoned to be; cuts lead only a little below."""
        self._began_at = 0.0
        self._cuts = 0
        self._cut_at = self._raised_at = 0.0
        self._not_before = 0.0
        self._next_try_s = _NEXT_TRY_S

    def on_taken(self, now: float, *, answered_s: float | None = None) -> None:
        """A request was let in, whatever became of it: who counts requests counts those that failed as well.

        `answered_s` is how long a good answer took; None where there was none.
        """
        if now >= self._tick_ends:
            self._turn(now)
        self._taken += 1
        self._failed += answered_s is None
        self._usual_s += ((answered_s or self._usual_s) - self._usual_s) * _SHARE_OF_ONE

    def on_refusal(self, now: float) -> None:
        """A request was refused for its rate."""
        if now >= self._tick_ends:
            self._turn(now)
        self._refused += 1
        self._since_refusal = 0
        if self._rate is not None and self._cuts < _CUTS_A_REVIEW and now - self._cut_at >= 1.0:
            self._cuts += 1
            self._cut_at = now
            self._ceiling, self._step = self._rate.limit, _FIRST_STEP
            self._set(max(self._rate.limit * _CUT, 0.9 * self._estimate))

    def on_opened_too_far(self) -> None:
        """There were too many at once, which is now mended: what was just refused says nothing of a rate."""
        self._refused = 0

    def _turn(self, now: float) -> None:
        """A tick is over, or several."""
        if not self._tick_ends:
            self._tick_ends = now + _TICK_S
            return
        while now >= self._tick_ends:
            self._tick_ends += _TICK_S
            if now - self._tick_ends > WINDOW_S:
                self._ticks.clear()
                self._tick_ends = now + _TICK_S
            self._ticks.append((self._taken, self._refused))
            self._trouble = self._trouble + 1 if self._refused else 0
            self._since_refusal += self._taken
            self._taken = self._refused = 0
            self._reviews += 1
            if self._reviews % _TICKS_A_REVIEW == 0:
                self._review(now)
                self._failed = 0

    def _review(self, now: float) -> None:
        taken, refused = (sum(each) for each in zip(*list(self._ticks)[-_TICKS_A_REVIEW:], strict=True))
        share = _share_of((taken, refused))
        self._cuts = 0
        if self._rate is None:
            if self._is_needed(refused, share) and now >= self._not_before:
                self._begin(share, now)
        elif now - self._began_at > _LONGEST_S:
            self._limiter.withdraw(self._rate)
            self._rate = None
        elif share <= _FEW:
            self._helps = self._helps or bool(taken)
            self._raise(refused, now)
        elif (
            not self._helps
            and self._reviews >= 4 * _TICKS_A_REVIEW
            and all(self._lately)
            and share > self._share_before / 2
        ):
            self._let_go(now)
        elif not taken or refused >= _CUTS_A_REVIEW:  # fewer have been cut for
            self._set(min(self._rate.limit, self._per_minute()))
            self._estimate = self._rate.limit
            self._ceiling = self._rate.limit

    def _is_needed(self, refused: int, share: float) -> bool:
        """Whether many are refused, and still are: those of the first seconds may have been too many at once.

        Where still more fail in other ways, the server has other troubles than a rate.
        """
        if self._failed > refused:
            return False
        settled = max(_TICKS_A_REVIEW, _ANSWERS_TO_SETTLE * self._usual_s / _TICK_S)
        still = _share_of(self._ticks[-1]) >= _MANY and self._trouble >= settled
        return still and refused >= _LEAST_REFUSALS and share >= _MANY and self._per_minute() >= 1

    def _begin(self, share: float, now: float) -> None:
        self._share_before = share
        self._helps = False
        self._reviews = 0
        self._rate = Rate(round(self._per_minute()), "requests", self._limiter.owner, announced=True)
        self._limiter.learnt = self._rate
        self._began_at, self._estimate = now, self._rate.limit
        self._ceiling, self._step, self._raised_at = self._rate.limit, _FIRST_STEP, now

    def _raise(self, refused: int, now: float) -> None:
        """Half-way back to where it was last refused; above that step by step."""
        assert self._rate is not None
        limit = self._rate.limit
        if refused or not self._rate.waiting:
            return
        if limit < 0.97 * self._ceiling:
            self._set(min(0.98 * self._ceiling, (limit + self._ceiling) / 2 + 1))
        elif self._since_refusal >= _BETWEEN_STEPS and now - self._raised_at >= WINDOW_S:
            self._raised_at = now
            self._set(limit * (1 + self._step) + 1)
            self._step = min(_LONGEST_STEP, 2 * self._step)

    def _let_go(self, now: float) -> None:
        assert self._rate is not None
        self._limiter.withdraw(self._rate)
        self._rate = None
        self._not_before = now + self._next_try_s
        self._next_try_s *= 2

    def _set(self, per_minute: float) -> None:
        assert self._rate is not None
        limit = max(1, int(per_minute))
        if limit != self._rate.limit:
            self._rate.resize(limit)

    def _per_minute(self) -> float:
        """What the server takes in a minute, by what it took lately."""
        took = [taken for taken, _ in self._ticks]
        ever = max(_a_minute(took), _a_minute(took[-self._trouble :] if self._trouble else took))
        lately = self._lately
        return min(ever, _a_minute(lately)) if all(lately) else ever

    @property
    def _lately(self) -> list[int]:
        """What it took in each of the last ticks; a zero means that it had closed."""
        return [taken for taken, _ in list(self._ticks)[-4:]]


def _share_of(tick: tuple[int, int]) -> float:
    """The refused ones among those taken and refused."""
    taken, refused = tick
    return refused / (taken + refused) if refused else 0.0


def _a_minute(took: list[int]) -> float:
    return sum(took) * WINDOW_S / (len(took) * _TICK_S)
