from pathlib import Path

import pytest
from recorded_run import item_result

from agentbatch.errors import InputError
from agentbatch.results.lines import CountedLines, find_result, parse_result


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
    with pytest.raises(InputError, match="there is no such file"):
        find_result(tmp_path / "no.jsonl", "a")


def test_the_lines_that_count(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    strange = b'{"status":"ok","id":"odd","index":2}\n'
    path.write_bytes(
        item_result("a", 0, "error")
        + b"\n"
        + item_result('q"\\', 1)
        + item_result("a")
        + strange
        + b'{"torn\n'
        + item_result("late", 3)[:-9]
    )
    with CountedLines(path) as lines:
        assert [(row["id"], row["status"]) for row in lines] == [('q"\\', "ok"), ("a", "ok"), ("odd", "ok")]
        assert list(lines.raw()) == [item_result('q"\\', 1), item_result("a"), strange]
        assert (len(lines), lines.superseded) == (3, 1)
        keys = [key for key, _ in lines.keyed()]
        assert [(lines.of(key) or {})["id"] for key in keys] == ['q"\\', "a", "odd"]
        assert keys[0] in lines
        assert lines.of(1) is None


def test_an_odd_line_supersedes_a_plain_one_of_the_same_item(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result("a") + b'{"status": "error", "id": "a"}\n')
    with CountedLines(path) as lines:
        assert [row["status"] for row in lines] == ["error"]


def test_a_long_line_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result("a", output="x" * 1_000_000) + item_result("b", 1))
    with CountedLines(path) as lines:
        first, second = (key for key, _ in lines.keyed())
        assert len((lines.of(first) or {})["output"]) == 1_000_000
        assert (lines.of(second) or {})["id"] == "b"


def test_what_is_written_meanwhile_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result("a"))
    with CountedLines(path) as lines:
        with path.open("ab") as file:
            file.write(item_result("b", 1))
        assert [row["id"] for row in lines] == ["a"]


def test_an_empty_file_is_fine_and_another_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with CountedLines(tmp_path / "empty") as lines:
        assert list(lines) == []
    (tmp_path / "other").write_text("hello\n")
    with pytest.raises(InputError, match="has no result line of agentbatch"):
        CountedLines(tmp_path / "other")
    with pytest.raises(InputError, match="there is no such file"):
        CountedLines(tmp_path / "no")
