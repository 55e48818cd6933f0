"""Tables of begun calls that nobody will come back for are removed, and no others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentbatch.kept.begun_calls import BegunCalls, open_table, table_path
from agentbatch.kept.stale_tables import FORGOTTEN_AFTER_S, GONE_AFTER_S, remove_stale_tables

NOW = time.time()


def table_of(results: Path, memory: Path) -> BegunCalls:
    table, _ = open_table(results, b"header", fresh=False, folder=memory)
    return table


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    return folder


def leave(results: Path, memory: Path, age_s: float) -> Path:
    """A table that an incomplete run left so long ago."""
    table = table_of(results, memory)
    table.call(3, "agent", 1).sent()
    table.close(complete=False)
    os.utime(table.path, (NOW - age_s, NOW - age_s))
    return table.path


def test_a_table_without_results_goes_and_one_with_results_stays(tmp_path: Path, memory: Path) -> None:
    kept, gone = tmp_path / "kept.jsonl", tmp_path / "gone.jsonl"
    kept.touch()
    stays, goes = (leave(each, memory, GONE_AFTER_S + 1) for each in (kept, gone))
    assert remove_stale_tables(NOW, memory) == 1
    assert stays.exists() and not goes.exists()
    assert table_of(kept, memory).items == [3], "and still says what had begun"


def test_one_just_left_stays_although_its_results_are_away(tmp_path: Path, memory: Path) -> None:
    left = leave(tmp_path / "away.jsonl", memory, GONE_AFTER_S - 60)
    assert remove_stale_tables(NOW, memory) == 0
    assert left.exists()


def test_one_that_nobody_came_back_for_goes(tmp_path: Path, memory: Path) -> None:
    results = tmp_path / "kept.jsonl"
    results.touch()
    left = leave(results, memory, FORGOTTEN_AFTER_S + 60)
    assert remove_stale_tables(NOW, memory) == 1
    assert not left.exists()


def test_one_in_use_stays_however_old(tmp_path: Path, memory: Path) -> None:
    table = table_of(tmp_path / "gone.jsonl", memory)
    os.utime(table.path, (0, 0))
    assert remove_stale_tables(NOW, memory) == 0
    assert table.path.exists()
    table.close(complete=True)
    assert not table.path.exists()


def test_what_is_no_table_of_ours_is_left_alone(tmp_path: Path, memory: Path) -> None:
    foreign = memory / "somebody-elses"
    foreign.write_text("data")
    name = table_path(tmp_path / "x", memory).name
    odd = memory / name
    odd.write_text("no table")
    link = memory / f"{name}0"
    link.symlink_to(foreign)
    for each in (foreign, odd):
        os.utime(each, (NOW - GONE_AFTER_S - 60,) * 2)
    os.utime(link, (0, 0), follow_symlinks=False)
    assert remove_stale_tables(NOW, memory) == 0
    assert foreign.exists() and odd.exists() and link.is_symlink()
    assert remove_stale_tables(NOW, tmp_path / "not there") == 0
