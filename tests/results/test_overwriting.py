"""What `--overwrite` replaces goes when a new result is there, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentbatch.process.control import Control
from agentbatch.results.book import BookOptions, ResultBook
from agentbatch.results.files import ResultFiles
from agentbatch.results.finished import FinishedItem
from agentbatch.results.header import new_header
from agentbatch.results.overwriting import SetAside

OLD, NEW = b'{"id": "old"}\n', b'{"id": "new"}\n'


@pytest.fixture
def files(tmp_path: Path) -> ResultFiles:
    files = ResultFiles(tmp_path / "x.results.jsonl")
    files.results.write_bytes(OLD)
    files.header.write_bytes(b"{}")
    files.traces.write_bytes(b"traces\n")
    (files.artifacts / "item").mkdir(parents=True)
    return files


def tree(files: ResultFiles) -> dict[str, bytes]:
    folder = files.results.parent
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.name.endswith(".lock")
    }


def book(files: ResultFiles, control: Control | None = None) -> ResultBook:
    return ResultBook(BookOptions(files=files, overwrite=True), new_header({}, None), control or Control())


async def test_a_run_that_breaks_off_before_its_first_result_leaves_all_as_it_was(files: ResultFiles) -> None:
    before = tree(files)
    with pytest.raises(ConnectionError), book(files):
        assert files.results.read_bytes() == b""
        raise ConnectionError
    assert tree(files) == before


async def test_so_does_one_that_is_stopped_and_it_says_so(files: ResultFiles) -> None:
    before, control = tree(files), Control()
    with book(files, control) as stopped:
        control.stop("enough")
    assert tree(files) == before
    assert stopped.put_back
    assert "nothing is overwritten" in stopped.notes[-1]


async def test_the_first_new_result_replaces_all(files: ResultFiles) -> None:
    with pytest.raises(ConnectionError), book(files) as running:
        running.commit(FinishedItem("new", 0, "ok", None, 1, False, {}, (), NEW))
        await running.settle()
        assert not files.aside.exists()
        raise ConnectionError
    assert files.results.read_bytes() == NEW
    assert not files.traces.exists()
    assert not files.artifacts.exists()


async def test_a_run_that_ends_well_without_a_result_replaces_all(files: ResultFiles) -> None:
    with book(files) as ended:
        pass
    assert files.results.read_bytes() == b""
    assert not files.aside.exists()
    assert not ended.put_back


def test_a_run_killed_before_its_first_result_is_taken_back_by_the_next(files: ResultFiles) -> None:
    before = tree(files)
    SetAside(files).begin()
    files.results.touch()
    files.header.write_bytes(b'{"new": 1}')
    SetAside(files).settle()
    assert tree(files) == before


@pytest.mark.parametrize("paid", ["results", "journal", "batches"])
def test_a_killed_run_that_has_paid_is_not_taken_back(files: ResultFiles, paid: str) -> None:
    SetAside(files).begin()
    files.results.touch()
    path: Path = getattr(files, paid)
    path.write_bytes(NEW)
    SetAside(files).settle()
    assert path.read_bytes() == NEW
    assert not files.aside.exists()


def test_killed_between_two_moves_nothing_is_lost(files: ResultFiles) -> None:
    """Some stand aside, the others in place: the results come last when they are set aside, and first back."""
    files.journal.write_bytes(b"calls")
    before = tree(files)
    files.aside.mkdir()
    for path in (files.journal, files.header):
        path.rename(files.aside / path.name)
    SetAside(files).settle()
    assert tree(files) == before
