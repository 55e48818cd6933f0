"""Work that is kept until its item has a result."""

from __future__ import annotations

from pathlib import Path

from scripted import visit_of

from agentbatch.errors import OutputError
from agentbatch.kept.journal import JournalFile
from agentbatch.kept.paid_work import PaidWork


def no_failure(error: OutputError) -> None:
    raise AssertionError(error)


async def test_without_a_journal_work_is_done_each_time() -> None:
    work = PaidWork(None, visit_of(), "asked")

    async def do() -> int:
        return 3

    assert work.recalled() is None
    assert await work.done(do) == 3


async def test_finished_work_comes_back_where_the_same_was_asked(tmp_path: Path) -> None:
    done: list[str] = []

    async def one(journal: JournalFile, asked: object) -> object:
        work = PaidWork(journal, visit_of(7), asked)
        known = work.recalled()

        async def do() -> object:
            done.append(str(asked))
            return {"of": asked}

        return known[0] if known is not None else await work.done(do)

    first = JournalFile(tmp_path / "j.sqlite", no_failure)
    assert await one(first, ["a", {"b": None}]) == {"of": ["a", {"b": None}]}
    first.close(complete=False)
    second = JournalFile(tmp_path / "j.sqlite", no_failure)
    assert await one(second, ["a", {"b": None}]) == {"of": ["a", {"b": None}]}
    assert await one(second, ["another"]) == {"of": ["another"]}
    second.close(complete=True)
    assert done == ["['a', {'b': None}]", "['another']"]
