import io
import os

import pytest
from progress.scripted_run import ScriptedRun

from agentbatch.progress.outlet import Outlet
from agentbatch.progress.plain import PlainProgress, progress_line
from agentbatch.progress.tally import Tally
from agentbatch.progress.view import Pressure, Watch
from agentbatch.trace import Tracer


class Paper:
    """A plain display over a pipe, whose beats the test makes itself."""

    def __init__(self, tally: Tally, total: int | None, interval: float = 10.0) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._stream = open(writer, "w", encoding="utf-8")  # noqa: SIM115
        self.display = PlainProgress(Watch(tally, total), Outlet(self._stream), interval)

    def beat(self, said: list[str] | None = None, last: bool = False) -> list[str]:
        self.display._draw(said or [], last)
        try:
            return os.read(self.reader, 1 << 16).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        self.display._outlet.close()
        self._stream.close()
        os.close(self.reader)


class Aged(Tally):
    """A tally that began as long ago as the test says."""

    def age(self, seconds: float) -> None:
        self._began -= seconds


@pytest.fixture
def tally() -> Aged:
    return Aged()


@pytest.fixture
def paper(tally: Aged):
    paper = Paper(tally, total=100)
    yield paper
    paper.close()


def test_the_first_line_after_two_seconds_then_one_every_ten(tally: Aged, paper: Paper) -> None:
    lines: list[int] = []
    for _ in range(60):
        tally.age(0.5)
        lines.append(len(paper.beat()))
    spoken = [at / 2 + 0.5 for at, number in enumerate(lines) if number]
    assert spoken == [2, 12, 22]


def test_sooner_at_each_tenth_of_the_way(tally: Aged, paper: Paper) -> None:
    tally.age(2)
    assert len(paper.beat()) == 1
    run, spoken = ScriptedRun(Tracer([tally]), ("writer",)), list[str]()
    for number in range(100):
        run.item(number)
        tally.age(0.6)
        spoken += paper.beat()
    assert [line.split(",")[0] for line in spoken] == [f"{tenth}0/100 items ({tenth}0%)" for tenth in range(1, 10)]


def test_milestones_that_rush_by_are_told_together(tally: Aged, paper: Paper) -> None:
    tally.age(2)
    paper.beat()
    run, spoken = ScriptedRun(Tracer([tally]), ("writer",)), list[str]()
    for number in range(100):
        run.item(number)
        tally.age(0.1)
        spoken += paper.beat()
    assert [line.split(",")[0] for line in spoken] == ["50/100 items (50%)"]


def test_a_short_run_says_nothing(tally: Aged, paper: Paper) -> None:
    run = ScriptedRun(Tracer([tally]), ("writer",))
    for number in range(100):
        run.item(number)
        assert paper.beat() == []
    assert paper.beat(last=True) == []


def test_each_kind_of_error_is_told_once_and_escaped(tally: Aged, paper: Paper) -> None:
    run = ScriptedRun(Tracer([tally]), ("writer",))
    run.item(1, ("server", "502 \x1b[31m\nsecond line"))
    assert paper.beat() == ["first server (writer): 502 \\x1b[31m\\nsecond line"]
    run.item(2, ("server", "503"))
    assert paper.beat() == []
    run.item(3, ("timeout", "no answer"))
    span = run.tracer.start("item", "item")
    run.tracer.end(span, "error", "input", "line 9: not JSON")
    assert paper.beat(last=True) == [
        "first timeout (writer): no answer",
        "first input (item ?): line 9: not JSON",
    ]


def test_what_is_said_is_printed(paper: Paper) -> None:
    assert paper.beat(["stopping: \x1b]0;x"]) == ["stopping: \\x1b]0;x"]


def test_the_line_says_what_matters() -> None:
    tally = Aged()
    run = ScriptedRun(Tracer([tally]), ("writer",), price=0.01)
    for number in range(1, 5):
        run.item(number, ("server", "502") if number == 1 else None, retries=1)
    tally.age(100)
    line = progress_line(Watch(tally, 8, lambda: Pressure(3, held_by="rate limit rpm of model fast")).look())
    assert line.startswith("4/8 items (50%), 1 failed, 4 retries, 3 in flight, ")
    assert "1m 40s elapsed" in line
    assert line.endswith("$0.0300, held by rate limit rpm of model fast")
    assert " left" in line


def test_without_a_total_and_a_price() -> None:
    tally = Tally()
    ScriptedRun(Tracer([tally]), ("writer",), price=None).item(1)
    line = progress_line(Watch(tally).look())
    assert line.startswith("1 item, ")
    assert line.endswith("cost unknown")


def test_start_and_stop_without_anyone_to_read() -> None:
    display = PlainProgress(Watch(Tally(), 1), Outlet(io.StringIO()), 0.001)
    display.start()
    display.stop()
    display.stop()
