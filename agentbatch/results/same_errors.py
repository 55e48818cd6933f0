"""Failures that are all alike, one after the other: they are about the run, not about the items they hit.

A model that does not know a parameter refuses every item in the same words. Such results are held back until an item
fares otherwise; if none does, the run ends, and all of them stay to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agentbatch.results.finished import FinishedItem
from agentbatch.text.figures import counted
from agentbatch.text.redact import visible

_OF_ONE_ITEM = frozenset({"input", "content_filter", "context_length", "max_cost", "max_turns"})
_OF_THE_ENDPOINT = frozenset(
    {"timeout", "rate_limited", "overloaded", "server", "connection", "bad_response", "auth", "quota"}
)
"""What its own breaker looks after."""

_NAMES_AND_NUMBERS = re.compile(r"[\w./:-]*\d[\w./:-]*")
"""Whatever has a digit in it: ids of requests, counts, dates."""

_PATIENCE = 200
"""So many other items may end before a held result is written all the same: its agent may rarely get its turn."""


@dataclass(slots=True, eq=False)
class _Streak:
    """What one agent failed with, again and again. `held` are the results of it that are not written yet."""

    signature: tuple[str, int | None, str]
    count: int = 0
    last: int = 0
    held: list[FinishedItem] = field(default_factory=list[FinishedItem])

    def release(self) -> list[FinishedItem]:
        held, self.held = self.held, []
        return held


class SameErrors:
    """Results on their way to the file. `limit` failures alike in a row of one agent trip it; 0: it never does.

    Attributes:
        tripped: why the run has to end, with an example; None while it may go on.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streaks: dict[str, _Streak] = {}
        self._ended = 0
        self.tripped: str | None = None

    def add(self, ended: FinishedItem) -> list[FinishedItem]:
        """What may be written now that one more item has ended, in order."""
        error = ended.error
        if not self._limit or (error is None and not self._streaks):
            return [ended]
        self._ended += 1
        freed = self._freed_by(ended)
        if error is None or error.type in _OF_ONE_ITEM or error.type in _OF_THE_ENDPOINT:
            return [*freed, ended]
        agent = _agent(error.agent or "")
        signature = error.type, error.http_status, _NAMES_AND_NUMBERS.sub("#", error.message)
        streak = self._streaks.get(agent)
        if streak is None or streak.signature != signature:
            freed += self._end(agent)
            streak = self._streaks[agent] = _Streak(signature)
        streak.count += 1
        streak.last = self._ended
        streak.held.append(ended)
        if streak.count >= self._limit and self.tripped is None:
            self.tripped = _why(streak.count, agent, ended)
        return freed

    def release(self) -> list[FinishedItem]:
        """What is still held back: there were too few for anything but their own fault. Nothing once it has tripped."""
        return [each for agent in list(self._streaks) for each in self._end(agent)]

    def _end(self, agent: str) -> list[FinishedItem]:
        if self.tripped is not None:
            return []
        streak = self._streaks.pop(agent, None)
        return [] if streak is None else streak.release()

    def _freed_by(self, ended: FinishedItem) -> list[FinishedItem]:
        """What this end decides: an agent that does well has no streak any more, and a rare one is not waited for."""
        if not self._streaks or self.tripped is not None:
            return []
        freed = [each for agent in ended.fared_well for each in self._end(agent)]
        for streak in self._streaks.values():
            if streak.held and self._ended - streak.last > _PATIENCE:
                freed += streak.release()
        return freed


def _agent(label: str) -> str:
    return label.partition("[")[0]


def _why(count: int, agent: str, example: FinishedItem) -> str:
    error = example.error
    assert error is not None
    status = f" (HTTP {error.http_status})" if error.http_status else ""
    who = f"{agent}: " if agent else ""
    return (
        f"{counted(count, 'item')} in a row failed alike, and so would the next: {who}{error.type}{status}, for example"
        f" item {visible(str(example.id), 40)}: {visible(error.message, 300)} (they stay to do; to go on all the same:"
        " limits.breaker.same_error: 0)"
    )
