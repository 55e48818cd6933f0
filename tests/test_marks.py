import asyncio

from fake_time import run_in_fake_time

from agentbatch.marks import MOST_MARKS, Mark, MarkBook


class Run:
    """A run at which a book looks, five times a second."""

    def __init__(self) -> None:
        self.rests: dict[str, float] = {}
        self.limits: dict[str, float | None] = {"models.fast.rpm": None, "limits.max_concurrency": 64}
        self.found: dict[str, float | None] = {"model fast: in flight at most": 40}
        self.now = 0.0
        self.book = MarkBook(lambda: self.rests, lambda: self.limits, lambda: self.found, lambda: self.now)

    def look(self, at: float) -> tuple[Mark, ...]:
        self.now = at
        self.book.look()
        return self.book.marks


def started() -> Run:
    async def start() -> Run:
        run = Run()
        run.book.start()
        run.book.stop()
        return run

    return asyncio.run(start())


def test_each_change_of_a_limit_is_marked() -> None:
    run = started()
    assert run.look(1.0) == ()
    run.limits = {"models.fast.rpm": 600, "limits.max_concurrency": 64}
    assert run.look(2.0) == (Mark(2.0, 0.0, "models.fast.rpm none -> 600"),)
    run.limits["limits.max_concurrency"] = 2000
    assert run.look(3.0)[1:] == (Mark(3.0, 0.0, "limits.max_concurrency 64 -> 2,000"),)
    assert len(run.look(4.0)) == 2


def test_a_cool_down_is_one_mark_for_as_long_as_it_is_drawn_out() -> None:
    run = started()
    run.rests = {"model fast": 2.0}
    run.look(10.0)
    run.rests = {"model fast": 3.5}
    run.look(11.0)
    run.rests = {}
    assert run.look(15.0) == (Mark(10.0, 4.5, "cool-down of model fast"),)
    run.rests = {"model fast": 1.0}
    assert [mark.at_s for mark in run.look(20.0)] == [10.0, 20.0]


def test_what_a_server_takes_is_marked_where_it_changes_much_and_not_while_it_is_first_tried() -> None:
    run = started()

    def told(found: float, at: float) -> list[str]:
        run.found["model fast: in flight at most"] = found
        return [mark.words.rpartition(": ")[2] for mark in run.look(at)]

    assert told(400, 1.0) == []
    assert told(380, 2.0) == []
    assert told(60, 3.0) == ["in flight at most 400 -> 60"]
    assert len(told(80, 4.0)) == 1
    assert told(95, 5.0)[1:] == ["in flight at most 60 -> 95"]


def test_a_cut_before_the_first_look_is_seen() -> None:
    run = started()
    run.found = {"model fast: in flight at most": 1}
    assert [mark.words for mark in run.look(0.2)] == ["model fast: in flight at most 40 -> 1"]


def test_it_looks_by_itself_and_keeps_no_more_than_a_chart_can_show() -> None:
    async def main() -> tuple[Mark, ...]:
        run = Run()
        run.book.start()
        for number in range(MOST_MARKS + 50):
            run.limits["models.fast.rpm"] = number + 1
            await asyncio.sleep(0.2)
        run.book.stop()
        run.book.stop()
        return run.book.marks

    marks = run_in_fake_time(main())
    assert len(marks) == MOST_MARKS
    assert marks[0].words == "models.fast.rpm none -> 1"
