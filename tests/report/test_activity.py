import random

import pytest

from agentbatch.report.activity import Activity, Course

SECOND = 10**9


def in_flight(course: Course) -> float:
    """Seconds of items in flight: the area under the curve."""
    return sum(sum(stretch.items_in_flight) for stretch in course.stretches) * course.slice_s


def ended(course: Course) -> float:
    return sum(sum(stretch.items) for stretch in course.stretches) * course.slice_s


def test_nothing_happened() -> None:
    course = Activity().course()
    assert (course.stretches, course.active_s) == ((), 0.0)


def test_the_area_under_the_curve_is_the_time_that_was_spent() -> None:
    activity = Activity()
    activity.took("items", 0, 10 * SECOND)
    activity.took("items", 2 * SECOND, 7 * SECOND)
    activity.took("items", 9 * SECOND, 12 * SECOND)
    course = activity.course()
    assert in_flight(course) == pytest.approx(18)
    assert ended(course) == pytest.approx(3)
    assert course.active_s == pytest.approx(12)


def test_a_level_that_holds_is_that_level() -> None:
    activity = Activity()
    for _ in range(5):
        activity.took("calls", 0, 100 * SECOND)
    (stretch,) = activity.course().stretches
    assert stretch.calls_in_flight[1:-1] == pytest.approx([5.0] * (len(stretch.calls_in_flight) - 2))
    assert not any(stretch.items_in_flight)


def test_the_order_of_telling_does_not_matter() -> None:
    randomly = random.Random(7)
    spans = [(start := randomly.randrange(600 * SECOND), start + randomly.randrange(20 * SECOND)) for _ in range(3000)]
    courses: list[Course] = []
    for _ in range(2):
        activity = Activity()
        for start, end in spans:
            activity.took("items", start, end)
        courses.append(activity.course())
        spans.sort()
    one, other = courses
    assert in_flight(one) == pytest.approx(sum(end - start for start, end in spans) / SECOND)
    assert in_flight(other) == pytest.approx(in_flight(one))
    assert one.active_s == pytest.approx(other.active_s)
    assert ended(one) == pytest.approx(3000)


def test_many_slices_are_joined_and_lose_nothing() -> None:
    activity = Activity()
    for number in range(20_000):  # each in slices of its own: far more than are kept
        activity.took("calls", number * SECOND, number * SECOND + SECOND // 2)
        activity.failed("server", number * SECOND)
    course = activity.course()
    assert sum(len(stretch.calls) for stretch in course.stretches) <= 240
    assert sum(sum(stretch.calls) for stretch in course.stretches) * course.slice_s == pytest.approx(20_000)
    assert sum(sum(stretch.failures["server"]) for stretch in course.stretches) == 20_000


def test_a_pause_of_a_week_splits_the_run_and_costs_no_detail() -> None:
    activity = Activity()
    week = 7 * 86400 * SECOND
    for begin in (0, week):
        for number in range(400):
            activity.took("items", begin + number * SECOND // 4, begin + number * SECOND // 4 + SECOND)
    course = activity.course()
    assert len(course.stretches) == 2
    assert course.slice_s < 3
    assert course.active_s == pytest.approx(2 * 100.75, abs=2 * course.slice_s)
    assert course.end_s == pytest.approx(week / SECOND + 100.75)
    assert course.stretches[1].start_s == pytest.approx(week / SECOND, abs=course.slice_s)


def test_a_short_pause_stays_in_the_picture() -> None:
    activity = Activity()
    activity.took("items", 0, 20 * SECOND)
    activity.took("items", 25 * SECOND, 40 * SECOND)
    (stretch,) = activity.course().stretches
    assert 0.0 in stretch.items_in_flight


def test_failures_and_waits_stand_where_they_happened() -> None:
    activity = Activity()
    for number in range(1000):
        activity.took("calls", number * SECOND // 10, number * SECOND // 10 + SECOND // 20)
    activity.took("waits", 50 * SECOND, 60 * SECOND)
    activity.failed("rate_limited", 50 * SECOND)
    course = activity.course()
    (stretch,) = course.stretches
    at = stretch.failures["rate_limited"].index(1)
    assert at * course.slice_s == pytest.approx(50, abs=course.slice_s)
    assert max(stretch.waiting) == pytest.approx(1.0)
    assert stretch.waiting[at + 2] == pytest.approx(1.0)


def test_an_end_before_its_start_counts_as_an_instant() -> None:
    activity = Activity()
    activity.took("items", 5 * SECOND, 4 * SECOND)
    course = activity.course()
    assert (in_flight(course), ended(course)) == (0.0, pytest.approx(1.0))
