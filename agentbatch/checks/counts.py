"""What the checks of a run come to: how many items passed each, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentbatch.checks.config import ThresholdConfig
from agentbatch.record import record


@record
class CheckCount:
    """One check over all items.

    Attributes:
        name: as in the result lines: that of an agent's check has the agent's name before it, `writer.short`.
        passed, failed: items.
        mean_score: None where no item has a score.
        least_share, least_mean: what the config's threshold asks for; None where it asks nothing.
    """

    name: str
    passed: int
    failed: int
    mean_score: float | None
    least_share: float | None = None
    least_mean: float | None = None

    @property
    def share(self) -> float:
        """Of the items that were checked, those that passed; 1 where there were none."""
        return self.passed / (self.passed + self.failed) if self.passed + self.failed else 1.0

    @property
    def met(self) -> bool:
        """Whether it comes to what the config asks for. What was never checked is not met."""
        checked = bool(self.passed + self.failed)
        share = self.least_share is None or (checked and self.share >= self.least_share)
        mean = self.least_mean is None or (self.mean_score is not None and self.mean_score >= self.least_mean)
        return share and mean

    def document(self) -> dict[str, Any]:
        """For the JSON summary."""
        return {
            "passed": self.passed,
            "failed": self.failed,
            "share": round(self.share, 6),
            "mean_score": None if self.mean_score is None else round(self.mean_score, 6),
            "min": self.least_share,
            "min_mean_score": self.least_mean,
            "met": self.met,
        }


class CheckTally:
    """Counts verdicts, item by item. `of_workflow` are the checks that every item has: one that failed, failed them."""

    def __init__(self, of_workflow: Iterable[str], thresholds: Mapping[str, ThresholdConfig]) -> None:
        self._of_workflow = tuple(of_workflow)
        self._thresholds = thresholds
        names = (*self._of_workflow, *(name for name in thresholds if name not in self._of_workflow))
        self._sums = {name: _Sum() for name in names}

    def add(self, status: str, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Count one item: how it ended, and its verdicts as they stand in its line."""
        for name, verdict in checks.items():
            self._sums.setdefault(name, _Sum()).add(bool(verdict.get("passed")), verdict.get("score"))
        if status not in ("ok", "skipped"):
            for name in self._of_workflow:
                if name not in checks:
                    self._sums[name].add(False, None)

    def counts(self) -> tuple[CheckCount, ...]:
        """All checks, in the order of the config."""
        return tuple(self._count(name, found) for name, found in self._sums.items())

    def _count(self, name: str, found: _Sum) -> CheckCount:
        threshold = self._thresholds.get(name) or ThresholdConfig()
        mean = round(found.score / found.items, 9) if found.scored else None
        return CheckCount(name, found.passed, found.items - found.passed, mean, threshold.min, threshold.mean_score)


class _Sum:
    """Of one check. An item without a score counts as 0 in the mean."""

    __slots__ = ("items", "passed", "score", "scored")

    def __init__(self) -> None:
        self.items = self.passed = self.scored = 0
        self.score = 0.0

    def add(self, passed: bool, score: Any) -> None:
        self.items += 1
        self.passed += passed
        if isinstance(score, int | float):
            self.scored += 1
            self.score += score
