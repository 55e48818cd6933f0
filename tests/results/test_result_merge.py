import json
from pathlib import Path

import pytest
from recorded_run import item_result

from agentbatch.errors import InputError, LockedError, OutputError, UsageError
from agentbatch.files.lock import OutputLock
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import RunHeader, read_header, write_header
from agentbatch.results.merge import merge


def made(path: Path, *lines: bytes, inputs: str | None = "digest", shape: str = "1") -> Path:
    path.write_bytes(b"".join(lines))
    if inputs is not None:
        write_header(ResultFiles(path).header, RunHeader(1, "0", {"agents.writer.prompt": shape}, inputs, ""))
    return path


def statuses(path: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["status"] for row in rows}


def test_the_last_line_of_an_item_counts_in_each_file_and_over_all(tmp_path: Path) -> None:
    a = made(tmp_path / "a.jsonl", item_result("x", 0, "error"), item_result("x"), item_result("y", 1, "error"))
    b = made(tmp_path / "b.jsonl", item_result("y", 1, "error"), item_result("y", 1), item_result("z", 2))
    c = made(tmp_path / "c.jsonl", item_result("z", 2, "timeout"))
    merged = merge([a, b, c], tmp_path / "out.jsonl")
    assert statuses(tmp_path / "out.jsonl") == {"x": "ok", "y": "ok", "z": "timeout"}
    assert (merged.items, merged.replaced, merged.notes) == (3, 2, ())
    assert merged.continuable
    assert read_header(ResultFiles(tmp_path / "out.jsonl").header) == read_header(ResultFiles(a).header)


def test_results_of_other_inputs_are_refused(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a.jsonl", item_result("x")), made(tmp_path / "b.jsonl", item_result("x"), inputs="other")
    with pytest.raises(InputError, match=r"b\.jsonl: was made from other inputs than .*a\.jsonl; --force"):
        merge([a, b], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    merged = merge([a, b], tmp_path / "out.jsonl", force=True)
    assert (merged.items, merged.continuable) == (1, False)
    assert not ResultFiles(tmp_path / "out.jsonl").header.exists()


def test_without_headers_the_ids_tell(tmp_path: Path) -> None:
    a = made(tmp_path / "a.jsonl", item_result("x"), item_result("y", 1), inputs=None)
    b = made(tmp_path / "b.jsonl", item_result("z"), inputs=None)
    with pytest.raises(InputError, match=r"item 0 is 'z' here, and another one in the files before"):
        merge([a, b], tmp_path / "out.jsonl")
    c = made(tmp_path / "c.jsonl", item_result("y", 1, "error"), inputs=None)
    merged = merge([a, c], tmp_path / "out.jsonl")
    assert statuses(tmp_path / "out.jsonl") == {"x": "ok", "y": "error"}
    assert not merged.continuable
    assert "has no run header" in merged.notes[0]


def test_other_configs_are_told(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a.jsonl", item_result("x")), made(tmp_path / "b.jsonl", item_result("x"), shape="2")
    merged = merge([a, b], tmp_path / "out.jsonl")
    assert not merged.continuable
    assert "agents.writer.prompt changed" in merged.notes[0]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a.jsonl", item_result("x")), made(tmp_path / "b.jsonl", item_result("y", 1))
    with pytest.raises(UsageError, match=r"a\.jsonl: is there already"):
        merge([a, b], a)
    with pytest.raises(OutputError, match="cannot lock the output"):
        merge([a, b], tmp_path / "no" / "out.jsonl")
    with OutputLock(tmp_path / "out.jsonl"), pytest.raises(LockedError):
        merge([a, b], tmp_path / "out.jsonl")
    assert statuses(a) == {"x": "ok"}
