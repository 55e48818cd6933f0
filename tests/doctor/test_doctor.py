"""Damage of every kind, seen, told with its place, and mended with nothing thrown away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from run_files import failed, result, simple_trace, step, write_results

from agentbatch.config import load
from agentbatch.doctor import Examination, Origin, examine, repair
from agentbatch.errors import InputError, LockedError
from agentbatch.files.lock import OutputLock
from agentbatch.kept.journal import add_costs, open_journal
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import new_header, read_header, write_header
from agentbatch.results.scan import scan_results
from agentbatch.traces.index import TraceIndex

LINES = [orjson.dumps(result(str(number), index=number - 1)) + b"\n" for number in range(1, 6)]
GLUED = LINES[1][:-1] + LINES[2]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Five results with a header, as a run leaves them."""
    write_header(tmp_path / "x.results.run.json", new_header({}, "digest"))
    return write_results(tmp_path / "x.results.jsonl", *LINES)


def told(found: Examination) -> list[tuple[str, int | None, bool]]:
    return [(each.file.name, each.line, each.mendable) for each in found.findings if each.wrong]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_a_run_leaves_is_sound(results: Path) -> None:
    before = files_in(results.parent)
    found = examine(results)
    assert (found.findings, found.wrong, found.lines, dict(found.statuses)) == ((), 0, 5, {"ok": 5})
    assert files_in(results.parent) == before
    again = repair(results)
    assert (again.findings, again.mended) == ((), ())
    assert files_in(results.parent) == before


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    inputs = tmp_path / "in.jsonl"
    inputs.write_text('{"product": "shoe"}\n{"product": "lamp"}\n')
    found = examine(inputs)
    assert "is no results file of agentbatch" in found.findings[0].what
    assert not any(each.mendable for each in found.findings)
    assert repair(inputs).mended == ()
    assert inputs.read_text() == '{"product": "shoe"}\n{"product": "lamp"}\n'


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        examine(tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        examine(tmp_path)
    assert not list(tmp_path.iterdir())


DAMAGE = {
    "a byte flipped": (lambda line: line.replace(b'"index":', b'"inde\xf7":', 1), 4),
    "cut": (lambda line: line[:40] + b"\n", 4),
    "NUL": (lambda line: bytes(300) + b"\n", 4),
    "foreign JSON": (lambda line: b'{"hello": "world"}\n', 4),
    "a torn line with a whole one glued to it": (lambda line: b'{"id":"9","index":8,"sta' + line, 5),
    "NUL before a whole line": (lambda line: bytes(64) + line, 5),
}


@pytest.mark.parametrize(("damage", "whole"), DAMAGE.values(), ids=DAMAGE)
def test_damage_in_the_middle_is_put_aside(results: Path, damage: Callable[[bytes], bytes], whole: int) -> None:
    broken = damage(LINES[2])
    write_results(results, *LINES[:2], broken, *LINES[3:])
    as_it_was = results.read_bytes()
    assert told(examine(results)) == [("x.results.jsonl", 3, True)]
    assert results.read_bytes() == as_it_was
    with pytest.raises(InputError, match="agentbatch doctor"):
        scan_results(results)
    found = repair(results)
    assert (found.findings, found.lines, len(found.mended)) == ((), whole, 1)
    assert scan_results(results).lines == whole
    assert results.with_name("x.results.jsonl.bak").read_bytes() == as_it_was
    assert broken in results.with_name("x.results.damaged.jsonl").read_bytes()


def test_two_results_glued_together_are_both_kept(results: Path) -> None:
    write_results(results, LINES[0], GLUED, *LINES[3:])
    assert told(examine(results)) == [("x.results.jsonl", 2, True)]
    assert repair(results).lines == 5
    assert results.read_bytes() == b"".join(LINES)


def test_an_answer_that_quotes_a_result_is_none(results: Path) -> None:
    """A model may say what looks like a result: it stands inside of one, and never becomes one."""
    forged = orjson.dumps(result("77", index=76, output=result("78", index=77)))
    write_results(results, *LINES[:2], b"\xff" + forged[:-30] + b"\n", *LINES[3:])
    assert repair(results).lines == 4
    assert b'"78"' not in results.read_bytes()


@pytest.mark.parametrize("tail", [b'{"id":"7","index":6,"sta', bytes(500), b"garbage\n\xff\xfe\n", b'{"id":"6"\n\n'])
def test_a_torn_end_is_cut_off(results: Path, tail: bytes) -> None:
    write_results(results, *LINES, tail)
    assert told(examine(results)) == [("x.results.jsonl", 6, True)]
    assert (repair(results).findings, results.read_bytes()) == ((), b"".join(LINES))
    assert tail in results.with_name("x.results.damaged.jsonl").read_bytes()


def test_a_last_line_without_its_newline_gets_it(results: Path) -> None:
    write_results(results, *LINES[:4], LINES[4][:-1])
    assert told(examine(results)) == [("x.results.jsonl", None, True)]
    assert (repair(results).findings, results.read_bytes()) == ((), b"".join(LINES))


def test_a_success_that_stands_there_twice_is_put_aside(results: Path) -> None:
    write_results(results, *LINES, LINES[1])
    assert told(examine(results)) == [("x.results.jsonl", 6, True)]
    assert repair(results).findings == ()
    assert results.read_bytes() == b"".join([LINES[0], *LINES[2:], LINES[1]])


def test_a_failed_item_that_was_tried_again_is_in_order(results: Path) -> None:
    write_results(results, failed("1", index=0), *LINES)
    assert examine(results).findings == ()


def test_two_items_at_one_place_are_told_and_left_to_a_person(results: Path) -> None:
    write_results(results, *LINES, result("someone else", index=1))
    assert told(repair(results)) == [("x.results.jsonl", 6, False)]


def test_a_file_that_is_none_of_ours_is_left_alone(results: Path) -> None:
    results.write_bytes(b"PK\x03\x04 some archive\n" * 50)
    before = files_in(results.parent)
    assert told(repair(results)) == [("x.results.jsonl", 1, False)]
    assert files_in(results.parent) == before


def test_many_damaged_lines_are_told_briefly_and_all_put_aside(results: Path) -> None:
    write_results(results, *LINES, *[b"junk\n"] * 500, result("6", index=5))
    found = examine(results)
    assert len(found.findings) == 20
    assert "480 more such lines" in found.findings[-1].what
    assert (repair(results).findings, scan_results(results).lines) == ((), 6)


def test_a_second_repair_keeps_the_first_backup(results: Path) -> None:
    for junk in (b"first\n", b"second\n"):
        write_results(results, LINES[0], junk, LINES[1])
        repair(results)
    assert b"first" in results.with_name("x.results.jsonl.bak").read_bytes()
    assert b"second" in results.with_name("x.results.jsonl.bak2").read_bytes()
    aside = results.with_name("x.results.damaged.jsonl").read_bytes()
    assert b"first" in aside
    assert b"second" in aside


def test_a_link_stays_a_link(results: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    results.rename(there)
    results.symlink_to(there)
    write_results(there, LINES[0], b"junk\n", LINES[1])
    assert repair(results).findings == ()
    assert results.is_symlink()
    assert there.read_bytes() == LINES[0] + LINES[1]


# the header

CONFIG = "version: 1\nmodels: {m: {provider: mock}}\nagents: {writer: {model: m, prompt: hello}}\n"


@pytest.mark.parametrize("header", [None, b"", b"{", b"[]", bytes(40)], ids=["gone", "empty", "torn", "shape", "NUL"])
def test_a_lost_header_is_written_anew_from_what_the_results_were_made_with(
    results: Path, tmp_path: Path, header: bytes | None
) -> None:
    path = ResultFiles(results).header
    path.unlink() if header is None else path.write_bytes(header)
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"n":{number}}}\n' for number in range(5)))
    assert told(repair(results)) == [("x.results.run.json", None, False)]
    origin = Origin(load(tmp_path / "c.yaml"), str(tmp_path / "in.jsonl"))
    assert told(examine(results, origin=origin)) == [("x.results.run.json", None, True)]
    assert repair(results, origin=origin).findings == ()
    assert read_header(path) is not None
    assert examine(results, origin=origin).findings == ()


def test_a_header_is_not_made_for_other_inputs(results: Path, tmp_path: Path) -> None:
    ResultFiles(results).header.unlink()
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"id":"other {number}"}}\n' for number in range(5)))
    origin = Origin(load(tmp_path / "c.yaml"), str(tmp_path / "in.jsonl"))
    assert told(repair(results, origin=origin)) == [("x.results.run.json", None, False)]
    assert not ResultFiles(results).header.exists()


def test_a_header_that_does_not_fit_what_is_named_is_told(results: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("{}\n")
    found = examine(results, origin=Origin(load(tmp_path / "c.yaml"), str(tmp_path / "in.jsonl")))
    assert "the inputs changed" in found.findings[0].what


# the call journal


def keep_calls(path: Path, items: int, answer: bytes = b'{"text":"an answer"}') -> None:
    with closing(open_journal(path)) as database:
        rows = [(item, "writer", 0, b"d" * 16, answer) for item in range(items)]
        database.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", rows)
        add_costs(database, [(0, 1.5)])


def calls_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM calls").fetchone()[0]


def test_a_journal_that_a_crash_left_is_told_and_not_touched(results: Path) -> None:
    journal = ResultFiles(results).journal
    with closing(open_journal(journal)) as open_still:
        keep_calls(journal, 3)
        before = files_in(results.parent)
        found = repair(results)
        assert files_in(results.parent) == before
        assert open_still
    (note,) = found.findings
    assert "3 finished calls of 3 items" in note.what
    assert not note.wrong


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_journal_that_is_none_is_moved_aside(results: Path, content: bytes) -> None:
    journal = ResultFiles(results).journal
    journal.write_bytes(content)
    assert told(examine(results)) == [("x.results.journal.sqlite", None, True)]
    assert repair(results).wrong == 0
    assert not journal.exists()
    assert journal.with_name("x.results.journal.sqlite.bak").read_bytes() == content


def test_of_a_damaged_journal_what_can_be_read_is_kept(results: Path) -> None:
    journal = ResultFiles(results).journal
    keep_calls(journal, 200, b'"' + b"x" * 1000 + b'"')
    pages = bytearray(journal.read_bytes())
    middle = len(pages) // 2 // 4096 * 4096
    pages[middle : middle + 4096] = os.urandom(4096)
    journal.write_bytes(pages)
    assert told(examine(results)) == [("x.results.journal.sqlite", None, True)]
    assert repair(results).wrong == 0
    assert 50 < calls_in(journal) < 200
    with closing(open_journal(journal)) as database:
        assert list(database.execute("SELECT * FROM costs")) == [(0, 1.5)]


def test_calls_whose_answers_are_damaged_are_made_again(results: Path) -> None:
    journal = ResultFiles(results).journal
    keep_calls(journal, 5)
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("UPDATE calls SET answer = ? WHERE item = 2", (b'{"text":"an',))
    assert told(examine(results)) == [("x.results.journal.sqlite", None, True)]
    assert repair(results).wrong == 0
    assert calls_in(journal) == 4


def test_a_log_without_its_journal_is_moved_aside(results: Path) -> None:
    wal = results.with_name("x.results.journal.sqlite-wal")
    wal.write_bytes(b"what was left of it")
    assert told(examine(results)) == [(wal.name, None, True)]
    assert repair(results).wrong == 0
    assert not wal.exists()


# what lies beside


def test_a_power_cut_in_the_copy_of_stdin(results: Path) -> None:
    copy = ResultFiles(results).spool
    copy.write_bytes(b'{"n":1}\n{"n":2}\n' + bytes(100) + b'\n{"n":3}\n')
    assert told(examine(results)) == [("x.results.inputs.jsonl", 3, True)]
    found = repair(results)
    assert copy.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert [each.wrong for each in found.findings] == [False]  # it is shorter than the results: no harm
    assert "holds 2 lines" in found.findings[0].what


def test_damaged_traces_are_put_aside(results: Path) -> None:
    traces = ResultFiles(results).traces
    traces.write_bytes(simple_trace(1) + simple_trace(2)[:50] + simple_trace(3) + simple_trace(4) + b'{"resourceSp')
    assert told(examine(results)) == [("x.results.traces.jsonl", 2, True), ("x.results.traces.jsonl", 4, True)]
    assert repair(results).findings == ()
    assert traces.read_bytes() == simple_trace(1) + simple_trace(4)


def test_an_index_without_its_traces_goes(results: Path) -> None:
    traces, index = ResultFiles(results).traces, ResultFiles(results).traces_index
    traces.write_bytes(simple_trace(1))
    with TraceIndex(traces):
        assert index.exists()
    assert examine(results).findings == ()
    traces.unlink()
    assert told(examine(results)) == [("x.results.traces.index", None, True)]
    assert repair(results).findings == ()
    assert not index.exists()


def test_a_damaged_index_goes(results: Path) -> None:
    ResultFiles(results).traces.write_bytes(simple_trace(1))
    ResultFiles(results).traces_index.write_bytes(b"x" * 5000)
    assert told(examine(results)) == [("x.results.traces.index", None, True)]
    assert repair(results).findings == ()


def test_an_artifact_that_is_gone_is_named(results: Path) -> None:
    line = result("1", index=0, agents={"coder": step(artifacts=["out/a.txt", "b.txt"])})
    write_results(results, line)
    folder = ResultFiles(results).artifacts / "1" / "coder"
    folder.mkdir(parents=True)
    (folder / "b.txt").write_text("here")
    found = examine(results)
    assert [each.file for each in found.findings] == [folder / "out" / "a.txt"]
    assert not found.findings[0].mendable


def test_leftovers_of_killed_processes_are_cleared_away(results: Path) -> None:
    left = [
        results.with_name(name) for name in ("x.results.jsonl.tmp", "x.results.run.json.tmp", "x.results.jsonl.lock")
    ]
    for path in left:
        path.write_text("{")
    found = examine(results)
    assert (len(found.findings), found.wrong) == (3, 0)
    assert repair(results).findings == ()
    assert not any(path.exists() for path in left)


def test_of_a_run_that_goes_on_nothing_half_written_is_a_fault(results: Path) -> None:
    with OutputLock(results):
        write_results(results, *LINES, b'{"id":"6","in')
        ResultFiles(results).traces.write_bytes(simple_trace(1)[:60])
        found = examine(results)
        assert (found.findings, found.holder is not None) == ((), True)
        with pytest.raises(LockedError):
            repair(results)
    assert examine(results).wrong == 2
