"""What calls of unfinished items have cost, as the next run finds it."""

from __future__ import annotations

from pathlib import Path

from scripted import visit_of

from agentbatch.kept.journal import Entry, JournalFile, Place
from agentbatch.kept.paid_work import Bill, PaidWork
from agentbatch.limits import Budget


def no_failure(error: Exception) -> None:
    raise error


def entry(item: int, number: int, cost_usd: float) -> Entry:
    return Entry(Place(item, "step", number), lambda: (b"d" * 16, b"1"), cost_usd)


async def left(path: Path, *entries: Entry) -> JournalFile:
    """The journal of a run that follows on one which kept these."""
    journal = JournalFile(path, no_failure)
    for each in entries:
        journal.record(each)
        await journal.settle(each.place.item)
    journal.close(complete=False)
    return JournalFile(path, no_failure)


async def test_what_unfinished_items_cost_adds_up_until_they_have_a_result(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = await left(path, entry(1, 1, 0.5), entry(1, 2, 0.25), entry(2, 1, 2.0), entry(3, 1, 0.0))
    assert journal.cost_usd == 2.75
    journal.forget([2])
    journal.record(entry(1, 2, 4.0))  # made anew: what it cost before was paid all the same
    await journal.settle(1)
    journal.close(complete=False)
    journal = JournalFile(path, no_failure)
    assert journal.cost_usd == 4.75
    assert not journal.known(2)
    journal.close(complete=True)


async def test_items_that_have_a_result_are_left_out(tmp_path: Path) -> None:
    journal = await left(tmp_path / "j.sqlite", entry(1, 1, 0.5), entry(2, 1, 2.0))
    journal.leave_out(lambda item: item == 2)
    assert journal.cost_usd == 0.5
    assert not journal.known(2)
    journal.close(complete=True)


async def test_what_such_an_item_does_when_it_is_run_again_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = await left(path, entry(2, 1, 2.0), entry(2, 2, 2.0))
    journal.leave_out(lambda item: item == 2)
    journal.record(entry(2, 1, 0.5))
    await journal.settle(2)
    journal.close(complete=False)
    journal = JournalFile(path, no_failure)
    assert list(journal.known(2)) == [("step", 1)]
    assert journal.cost_usd == 0.5
    journal.close(complete=True)


async def test_work_that_tells_what_it_cost_is_paid_once(tmp_path: Path) -> None:
    async def work() -> dict[str, float]:
        return {"usd": 3.0}

    def begun(journal: JournalFile) -> tuple[Budget, PaidWork]:
        budget = Budget(10.0)
        return budget, PaidWork(journal, visit_of(1), "asked", None, Bill(budget, lambda result: result["usd"]))

    path = tmp_path / "j.sqlite"
    journal = JournalFile(path, no_failure)
    budget, first = begun(journal)
    assert await first.done(work) == {"usd": 3.0}
    assert budget.spent == 3.0
    journal.close(complete=False)
    journal = JournalFile(path, no_failure)
    budget, again = begun(journal)
    assert again.recalled() == ({"usd": 3.0},)
    assert (journal.cost_usd, budget.spent) == (3.0, 0.0)
    journal.close(complete=True)
