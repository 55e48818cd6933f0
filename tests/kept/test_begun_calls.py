"""What had begun when a run broke off."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentbatch.kept.begun_calls import BegunCalls, PaidTwice, open_table, table_path

HEADER = b"the run"


def table_of(folder: Path, *, fresh: bool = False) -> BegunCalls:
    table, known = open_table(folder / "out.jsonl", HEADER, fresh=fresh, folder=folder)
    assert known
    return table


def test_what_was_sent_and_not_kept_is_paid_twice(tmp_path: Path) -> None:
    first = table_of(tmp_path, fresh=True)
    for item in range(4):
        call = first.call(item, "writer", 1)
        call.sent()
        if item < 2:
            call.answered(0.5)
    first.forget([0])  # its result line is on disk
    first.call(9, "writer", 1).refused()  # was never sent
    refused = first.call(8, "writer", 1)
    refused.sent()
    refused.refused()
    waiting = first.call(7, "writer", 1)  # is not sent yet
    first.close(complete=False)
    assert waiting

    second = table_of(tmp_path)
    assert sorted(second.items) == [1, 2, 3]
    for item in (1, 2, 3, 7, 8, 9):
        call = second.call(item, "writer", 1)
        call.sent()
        if item != 3:
            call.answered(0.25)
    assert second.paid_twice == PaidTwice(calls=2, answered=1, cost_usd=0.5)
    second.close(complete=False)

    third = table_of(tmp_path)
    call = third.call(3, "writer", 1)
    call.sent()
    call.answered(None)
    # sent by the first and by the second run
    assert third.paid_twice == PaidTwice(calls=4, answered=1, unpriced=2, cost_usd=0.5)
    third.close(complete=True)
    assert list(tmp_path.iterdir()) == []


def test_what_was_counted_once_is_not_counted_again_by_the_next_run(tmp_path: Path) -> None:
    for run in range(4):
        table = table_of(tmp_path, fresh=not run)
        call = table.call(5, "writer", 1)
        call.sent()
        call.answered(0.5)
        assert table.paid_twice == PaidTwice(calls=run, answered=run, cost_usd=run * 0.5)
        table.close(complete=run == 3)


def test_steps_and_numbers_tell_calls_apart_and_tools_have_a_count_of_their_own(tmp_path: Path) -> None:
    first = table_of(tmp_path, fresh=True)
    first.call(1, "refine[2].critic", 1).sent()
    first.call(1, "refine[2].critic", 3, work=True).sent()
    first.close(complete=False)
    second = table_of(tmp_path)
    for path, number, work in (
        ("refine[1].critic", 1, False),
        ("refine[2].critic", 2, False),
        ("refine[2].critic", 3, True),
    ):
        call = second.call(1, path, number, work=work)
        call.sent()
        call.answered(1.0)
    assert second.paid_twice == PaidTwice(works=1)
    second.close(complete=True)


def test_a_table_grows_with_what_is_under_way(tmp_path: Path) -> None:
    first = table_of(tmp_path, fresh=True)
    for item in range(5000):
        first.call(item, "writer", 1).sent()
    first.forget(range(100, 5000))
    first.close(complete=False)
    second = table_of(tmp_path)
    assert sorted(second.items) == list(range(100))
    second.forget(range(50))
    second.close(complete=False)
    third = table_of(tmp_path)
    assert sorted(third.items) == list(range(50, 100))
    third.close(complete=True)


def test_another_run_at_the_same_place_and_a_damaged_table_are_not_believed(tmp_path: Path) -> None:
    first = table_of(tmp_path, fresh=True)
    first.call(1, "writer", 1).sent()
    first.close(complete=False)
    other, known = open_table(tmp_path / "out.jsonl", b"another run", fresh=False, folder=tmp_path)
    assert (known, other.items) == (False, [])
    other.call(2, "writer", 1).sent()
    other.close(complete=False)
    other.path.write_bytes(other.path.read_bytes()[:-5])
    damaged, known = open_table(tmp_path / "out.jsonl", b"another run", fresh=False, folder=tmp_path)
    assert (known, damaged.items) == (False, [])
    damaged.close(complete=True)


def test_no_link_is_followed_and_no_folder_made(tmp_path: Path) -> None:
    results = tmp_path / "out.jsonl"
    with pytest.raises(OSError, match="nowhere"):
        open_table(results, HEADER, fresh=True, folder=tmp_path / "nowhere")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    table_path(results, tmp_path).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        open_table(results, HEADER, fresh=True, folder=tmp_path)
    assert elsewhere.read_text() == "somebody's"
