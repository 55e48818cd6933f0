from typing import Any

from agentbatch.checks.config import ThresholdConfig
from agentbatch.checks.counts import CheckCount, CheckTally


def verdict(passed: bool, score: float | None = None) -> dict[str, Any]:
    return {"passed": passed, "score": float(passed) if score is None else score, "message": ""}


def test_shares_and_means() -> None:
    tally = CheckTally(["right"], {})
    for passed, score in ((True, 1.0), (False, 0.2), (True, 0.6)):
        tally.add("ok", {"right": verdict(passed, score), "writer.short": verdict(passed)})
    tally.add("ok", {"right": {"passed": False, "score": None}})
    right, short = tally.counts()
    assert (right.name, right.passed, right.failed, right.share, right.mean_score) == ("right", 2, 2, 0.5, 0.45)
    assert (short.name, short.passed, short.failed) == ("writer.short", 2, 1)
    assert right.met


def test_an_item_that_failed_has_failed_what_every_item_is_checked_for() -> None:
    tally = CheckTally(["right"], {"writer.short": ThresholdConfig(min=0.5)})
    tally.add("ok", {"right": verdict(True), "writer.short": verdict(True)})
    tally.add("error", {"writer.short": verdict(True)})
    tally.add("timeout", {})
    tally.add("skipped", {})
    right, short = tally.counts()
    assert (right.passed, right.failed) == (1, 2)
    assert (short.passed, short.failed) == (2, 0)


def test_thresholds() -> None:
    def met(passed: int, failed: int, mean: float | None, least: float | None, least_mean: float | None = None) -> bool:
        return CheckCount("x", passed, failed, mean, least, least_mean).met

    assert met(9, 1, None, 0.9)
    assert not met(89, 11, None, 0.9)
    assert met(0, 10, 0.8, None, 0.8)
    assert not met(10, 0, 0.7, 0.9, 0.8)
    assert not met(10, 0, None, None, 0.8)
    assert met(0, 0, None, None)
    assert not met(0, 0, None, 0.1), "what was never checked has not been shown"


def test_the_document() -> None:
    assert CheckCount("x", 2, 1, 0.66666666, 0.5, None).document() == {
        "passed": 2,
        "failed": 1,
        "share": 0.666667,
        "mean_score": 0.666667,
        "min": 0.5,
        "min_mean_score": None,
        "met": True,
    }
