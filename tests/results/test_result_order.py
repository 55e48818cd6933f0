from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import OutputError
from agentbatch.items import Item, ItemResult, Result
from agentbatch.results import encode_result
from agentbatch.results.order import OrderedLines, sort_results


def line(index: int, output: str = "") -> bytes:
    return encode_result(ItemResult(Item(str(index), index, {}), "0" * 31 + "1", 0, Result("ok", output=output)))


@given(indices=st.lists(st.integers(0, 30), max_size=60), known=st.booleans())
def test_each_items_last_line_stands_in_input_order(
    tmp_path_factory: pytest.TempPathFactory, indices: list[int], known: bool
) -> None:
    path = tmp_path_factory.mktemp("order") / "x.jsonl"
    path.write_bytes(b"".join(line(index, f"try {number}") for number, index in enumerate(indices)))
    sort_results(path, 31 if known else None)
    last = {index: line(index, f"try {number}") for number, index in enumerate(indices)}
    assert path.read_bytes() == b"".join(last[index] for index in sorted(last))
    sort_results(path)
    assert path.read_bytes() == b"".join(last[index] for index in sorted(last))


def test_nothing_but_the_order_changes(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(line(1) + line(0))
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    sort_results(link)
    assert link.is_symlink()
    assert path.read_bytes() == line(0) + line(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "x.jsonl"]


@pytest.mark.parametrize("content", [b"oops\n", b"[]\n", b"{}\n", b'{"index":"a"}\n'])
def test_a_file_it_cannot_read_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(line(0) + content)
    with pytest.raises(OutputError, match="cannot be put in order"):
        sort_results(path)
    assert path.read_bytes() == line(0) + content
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_missing_file_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        sort_results(tmp_path / "x.jsonl")


@given(ends=st.permutations([3, 4, 7, 9, 20]), count=st.integers(0, 5))
def test_a_stream_is_held_back_until_its_turn(ends: list[int], count: int) -> None:
    order = OrderedLines()
    for index in sorted(ends):
        order.expect(index)
    out: list[bytes] = []
    for index in ends[:count]:
        out += order.push(index, b"%d" % index)
    assert len(out) + len(order) == count
    assert out == [b"%d" % index for index in sorted(ends)[: len(out)]]
    out += order.flush()
    assert out == [b"%d" % index for index in sorted(ends[:count])]
    assert len(order) == 0
