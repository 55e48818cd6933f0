import pytest
from progress.scripted_run import ScriptedRun

from agentbatch.progress.tally import Tally
from agentbatch.progress.view import Pressure, Watch
from agentbatch.trace import Tracer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    clock, tally = Clock(), Tally()
    watch, run = Watch(tally, 1000, clock=clock), ScriptedRun(Tracer([tally]), ("writer", "critic"))
    for second in range(60):
        clock.now += 1
        for number in range(1 if second < 30 else 5):
            run.item(number)
        view = watch.look()
        if second == 29:
            assert view.items_per_s == pytest.approx(1)
    assert view.items_per_s == pytest.approx(5)
    assert view.calls_per_s == pytest.approx((5, 5))


def test_agents_without_calls_are_as_fast_as_they_end() -> None:
    clock, tally = Clock(), Tally()
    watch, tracer = Watch(tally, clock=clock), Tracer([tally])
    for _ in range(8):
        tracer.end(tracer.start("score", "agent"))
    clock.now += 2
    assert watch.look().calls_per_s == pytest.approx((4,))


def test_the_share_and_the_time_left_need_a_total() -> None:
    tally = Tally()
    run = ScriptedRun(Tracer([tally]), ("writer",))
    for number in range(5):
        run.item(number)
    unknown, known = Watch(tally).look(), Watch(tally, lambda: 20).look()
    assert (unknown.share, unknown.eta_s) == (None, None)
    assert known.share == 0.25
    assert known.eta_s is not None
    assert known.eta_s > 0


@pytest.mark.parametrize(("total", "share"), [(0, 1.0), (2, 1.0)])
def test_a_share_is_never_more_than_all(total: int, share: float) -> None:
    tally = Tally()
    for number in range(3):
        ScriptedRun(Tracer([tally]), ("writer",)).item(number)
    assert Watch(tally, total).look().share == share


def test_nothing_ended_gives_no_time_left() -> None:
    assert Watch(Tally(), 100).look().eta_s is None


def test_pressure_is_asked_for_at_each_look() -> None:
    asked = iter([Pressure(1), Pressure(2)])
    watch = Watch(Tally(), pressure=lambda: next(asked))
    assert [watch.look().pressure.items_in_flight for _ in range(2)] == [1, 2]
