import json
from pathlib import Path
from typing import Any

import pytest
from recorded_run import item_result

from agentbatch.results.diff import DiffReport, DiffSums, changes_of, compare, diff_document
from agentbatch.results.lines import CountedLines


def line(**options: Any) -> dict[str, Any]:
    return json.loads(item_result("a", 0, **options))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, ()),
        ({}, {"status": "error"}, ("broken",)),
        ({"status": "timeout"}, {}, ("mended",)),
        ({"status": "timeout"}, {"status": "error"}, ("status",)),
        ({"output": "x"}, {"output": "y"}, ("output",)),
        ({"seconds": 1.0}, {"seconds": 2.0}, ("slower",)),
        ({"seconds": 2.0}, {"seconds": 1.0}, ("faster",)),
        ({"seconds": 1.0}, {"seconds": 1.2}, ()),
        ({"seconds": 0.01}, {"seconds": 0.05}, ()),
        ({"cost": 0.1}, {"cost": 0.2}, ("dearer",)),
        ({"cost": 0.0}, {"cost": 0.2}, ("dearer",)),
        ({"cost": 0.2}, {"cost": 0.1, "output": "z"}, ("output", "cheaper")),
        ({"cost": None}, {"cost": 0.2}, ()),
        ({"status": "error", "seconds": 1.0}, {"seconds": 9.0}, ("mended",)),
    ],
)
def test_in_what_two_results_differ(old: dict[str, Any], new: dict[str, Any], changes: tuple[str, ...]) -> None:
    assert changes_of(line(**old), line(**new)) == changes


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_bytes(
        item_result("same") + item_result("hurt", 1, "error") + item_result("hurt", 1) + item_result("gone", 2)
    )
    b.write_bytes(
        item_result("new", 3) + item_result("hurt", 1, "error") + item_result("same", output="changed \x1b[2J")
    )
    return a, b


def test_all_items_of_both_files(pair: tuple[Path, Path]) -> None:
    with CountedLines(pair[0]) as a, CountedLines(pair[1]) as b:
        diffs = list(compare(a, b))
    assert {diff.item_id: diff.changes for diff in diffs} == {
        "new": ("added",),
        "hurt": ("broken",),
        "same": ("output",),
        "gone": ("removed",),
    }
    sums = DiffSums()
    for diff in diffs:
        sums.add(diff)
    assert (sums.same, sums.a.statuses, sums.b.statuses) == (0, {"ok": 3}, {"ok": 2, "error": 1})
    document = diff_document(diffs[1])
    assert (document["id"], document["a"]["status"], document["b"]["error"]["type"]) == ("hurt", "ok", "server")


def test_the_report(pair: tuple[Path, Path]) -> None:
    with CountedLines(pair[0]) as a, CountedLines(pair[1]) as b:
        text = DiffReport.of(compare(a, b)).render()
    assert "failed in B, succeeded in A: 1\n  hurt  server: it broke\n" in text
    assert "another output: 1\n  same  text -> changed \\x1b[2J\n" in text
    assert "only in A: 1\n  gone\n" in text
    assert "only in B: 1\n  new\n" in text
    with CountedLines(pair[0]) as a, CountedLines(pair[0]) as b:
        assert DiffReport.of(compare(a, b)).render().endswith("\n\nNo item differs.\n")


def test_long_lists_are_cut(tmp_path: Path) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_bytes(b"".join(item_result(number, number, output="x" * 50 + "old") for number in range(30)))
    b.write_bytes(b"".join(item_result(number, number, output="x" * 50 + "new") for number in range(30)))
    with CountedLines(a) as before, CountedLines(b) as after:
        text = DiffReport.of(compare(before, after)).render()
    assert "another output: 30" in text
    assert "...xxxxxxxxxxold -> ...xxxxxxxxxxnew" in text
    assert text.endswith("  and 10 more: --json lists all\n")
