from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import InputError, OutputError
from agentbatch.items import Item, ItemResult, Result, Status
from agentbatch.messages import Usage
from agentbatch.results import encode_result
from agentbatch.results.scan import Finished, scan_results


def line(index: int, status: Status = "ok", item_id: str | None = None, cost: float | None = 0.25) -> bytes:
    result = Result(status, output="naïve \n text", usage=Usage(10, 5, 1), cost_usd=cost)
    item = Item(str(index + 1) if item_id is None else item_id, index, {}, index + 1)
    return encode_result(ItemResult(item, "0" * 31 + "1", 0, result))


LINES = [line(0), line(2, "error"), line(1, "timeout"), line(3)]
CONTENT = b"".join(LINES)


def scan(tmp_path: Path, content: bytes, total: int | None = None) -> Finished:
    path = tmp_path / "x.results.jsonl"
    path.write_bytes(content)
    return scan_results(path, total)


def after(tmp_path: Path) -> bytes:
    return (tmp_path / "x.results.jsonl").read_bytes()


def test_without_a_file_nothing_is_finished(tmp_path: Path) -> None:
    finished = scan_results(tmp_path / "none.jsonl", 5)
    assert (finished.done, finished.lines, finished.is_done("1", 0)) == (0, 0, False)
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("total", [None, 6])
def test_a_file_says_what_is_finished_and_what_it_cost(tmp_path: Path, total: int | None) -> None:
    finished = scan(tmp_path, CONTENT, total)
    assert [finished.status_of(index) for index in range(6)] == ["ok", "timeout", "error", "ok", None, None]
    assert finished.counts() == {"ok": 2, "timeout": 1, "error": 1}
    assert finished.counts(range(2, 1 << 40)) == finished.counts((2, 3, 7)) == {"ok": 1, "error": 1}
    assert (finished.done, finished.lines, finished.healed_bytes) == (4, 4, 0)
    assert finished.cost_usd == 1.0
    assert finished.usage == Usage(40, 20, 4)
    assert after(tmp_path) == CONTENT


def test_the_last_line_of_an_item_counts_and_all_lines_were_paid(tmp_path: Path) -> None:
    finished = scan(tmp_path, line(0, "error") + line(1) + line(0))
    assert finished.counts() == {"ok": 2}
    assert (finished.lines, finished.cost_usd) == (3, 0.75)
    assert scan(tmp_path, line(0) + line(0, "error")).status_of(0) == "error"


def test_lines_of_unknown_cost_are_counted_apart(tmp_path: Path) -> None:
    finished = scan(tmp_path, line(0, cost=None) + line(1))
    assert (finished.unpriced, finished.cost_usd) == (1, 0.25)


def test_failed_items_are_done_unless_they_are_to_be_retried(tmp_path: Path) -> None:
    finished = scan(tmp_path, CONTENT)
    assert all(finished.is_done(str(index + 1), index) for index in range(4))
    assert [finished.is_done(str(index + 1), index, retry_failed=True) for index in range(4)] == [
        True,
        False,
        False,
        True,
    ]
    assert scan(tmp_path, line(0, "skipped")).is_done("1", 0, retry_failed=True)


def test_an_item_of_another_id_at_the_same_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="belongs to other inputs"):
        scan(tmp_path, CONTENT).is_done("someone else", 0)


def test_an_index_beyond_the_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"jsonl:4: belongs to other inputs: its index is 3"):
        scan(tmp_path, CONTENT, total=3)
    assert after(tmp_path) == CONTENT


def test_integer_ids_match(tmp_path: Path) -> None:
    integer = encode_result(ItemResult(Item(7, 0, {}), "0" * 31 + "1", 0, Result("ok")))
    assert scan(tmp_path, integer).is_done(7, 0)


def test_lines_of_an_older_shape_are_read(tmp_path: Path) -> None:
    finished = scan(tmp_path, b'{"id":"1","index":0,"status":"ok"}\n{"id":"2","index":1,"status":"ok","new":[1]}\n')
    assert finished.done == 2


# the end a crash leaves


@given(cut=st.integers(0, len(CONTENT)))
def test_a_file_cut_anywhere_heals_to_the_lines_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    finished = scan(folder, CONTENT[:cut], total=4)
    whole = CONTENT[: cut + 1].count(b"\n")  # a line that lacks only its newline is whole
    assert finished.lines == whole
    assert after(folder) == b"".join(LINES[:whole])
    assert scan_results(folder / "x.results.jsonl", 4).healed_bytes == 0


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 5000, b'{"id":"9","ind', b"\xff\xfe\x01garbage", b"garbage\nmore\n", b'{"id":"9"\n\n', b"\0\n\0", b"5"],
)
def test_garbage_at_the_end_is_cut_and_reported(tmp_path: Path, tail: bytes) -> None:
    finished = scan(tmp_path, CONTENT + tail)
    assert (finished.lines, finished.healed_bytes) == (4, len(tail))
    assert after(tmp_path) == CONTENT


def test_a_file_of_one_torn_line_or_of_nothing_but_nul_is_emptied(tmp_path: Path) -> None:
    for content in (LINES[0][:-20], b"\0" * 512, b"{", b'{"id":\0\0\0'):
        assert scan(tmp_path, content).healed_bytes == len(content)
        assert after(tmp_path) == b""


def test_a_last_line_without_its_newline_is_kept_and_ended(tmp_path: Path) -> None:
    for _ in range(2):
        finished = scan(tmp_path, CONTENT[:-1])
        assert (finished.lines, finished.healed_bytes) == (4, 0)
        assert after(tmp_path) == CONTENT


def test_blank_lines_are_left_alone(tmp_path: Path) -> None:
    content = LINES[0] + b"\n" + LINES[1] + b"\r\n\n"
    assert scan(tmp_path, content).lines == 2
    assert after(tmp_path) == content


# damage no crash explains


@given(which=st.integers(0, 2), place=st.integers(0, 10_000), byte=st.sampled_from(b"\0\x01\xff\n"))
def test_damage_in_the_middle_is_refused_and_left_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, which: int, place: int, byte: int
) -> None:
    # bytes that are valid nowhere in a line; one that only changes an answer's letters nobody can see
    damaged = bytearray(LINES[which])
    damaged[1 + place % (len(damaged) - 3)] = byte
    content = b"".join([*LINES[:which], bytes(damaged), *LINES[which + 1 :]])
    folder = tmp_path_factory.mktemp("damage")
    with pytest.raises(InputError, match=rf"x\.results\.jsonl:{which + 1}: damaged") as caught:
        scan(folder, content)
    assert "agentbatch doctor " in str(caught.value)
    assert after(folder) == content


@pytest.mark.parametrize(
    "foreign",
    [
        b'{"id":"1","status":"ok"}',
        b'{"id":"1","index":-1,"status":"ok"}',
        b'{"id":"1","index":true,"status":"ok"}',
        b'{"id":"1","index":0,"status":"fine"}',
        b'{"id":"1","index":0,"status":["ok"]}',
        b'{"id":null,"index":0,"status":"ok"}',
        b'{"id":"1","index":0,"status":"ok","cost_usd":"much"}',
        b'{"id":"1","index":0,"status":"ok","usage":7}',
        b'{"id":"1","index":99999999999999,"status":"ok"}',
        b"[1,2]",
        b"7",
    ],
)
def test_whole_lines_that_are_no_results_are_never_cut(tmp_path: Path, foreign: bytes) -> None:
    content = LINES[0] + foreign + b"\n"
    with pytest.raises(InputError, match=r"jsonl:2: damaged.*no result of agentbatch"):
        scan(tmp_path, content)
    assert after(tmp_path) == content


@pytest.mark.parametrize("content", [b"my notes\n", b"some text without an end", b"id,name\n1,x\n", b"PK\x03\x04"])
def test_a_file_of_something_else_is_never_cut(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="no results file of agentbatch"):
        scan(tmp_path, content)
    assert after(tmp_path) == content


def test_a_folder_in_its_place_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be read"):
        scan_results(tmp_path)


@pytest.mark.slow
def test_a_million_lines_take_five_bytes_each_and_little_time(tmp_path: Path) -> None:
    path = tmp_path / "x.results.jsonl"
    record = orjson.loads(line(0))
    with path.open("wb") as file:
        for index in range(1_000_000):
            record["id"], record["index"] = str(index + 1), index
            file.write(orjson.dumps(record) + b"\n")
    finished = scan_results(path, 1_000_000)
    assert finished.done == 1_000_000
    assert len(finished.states) + finished.ids.itemsize * len(finished.ids) == 5_000_000
