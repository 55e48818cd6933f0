from pathlib import Path

import pytest
from recorded_run import item_result

from agentbatch.errors import InputError
from agentbatch.result_lines import find_result, parse_result


def test_the_last_line_of_an_item_counts(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result("a", 0, "error") + item_result("b", 1) + item_result("a") + b'{"id":"a","sta')
    found = find_result(path, "a")
    assert found is not None
    assert found["status"] == "ok"


def test_an_id_wins_over_a_trace_id_and_a_number_is_its_digits(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result(7, 0, output="id") + item_result("x", 1, trace_id="7", output="trace"))
    assert (find_result(path, "7") or {})["output"] == "id"
    assert (find_result(path, "0" * 32) or {})["id"] == 7
    assert find_result(path, "nope") is None


def test_an_id_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result('a "b"\n\\ü'))
    assert find_result(path, 'a "b"\n\\ü') is not None


@pytest.mark.parametrize("line", [b"", b"{", b"null", b"[1]", b"{}", b'{"id": 1}', b'{"status": "ok"}', b"\xff"])
def test_what_is_no_result(line: bytes) -> None:
    assert parse_result(line) is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        find_result(tmp_path / "no.jsonl", "a")
