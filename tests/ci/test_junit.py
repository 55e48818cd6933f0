import json
from dataclasses import replace
from pathlib import Path

import pytest
from ended_run import SUMMARY
from junit_schema import read_junit
from recorded_run import item_result

from agentbatch.checks.counts import CheckCount
from agentbatch.ci.junit import case_of, write_broken, write_junit
from agentbatch.errors import InputError, OutputError


def test_a_case_for_each_item_and_its_last_line(tmp_path: Path) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    results.write_bytes(
        item_result("a", 0, "error")
        + item_result("b", 1, "skipped")
        + item_result("c", 2, "error", error=("output_schema", "no score"))
        + item_result("d", 3, "timeout", error=("timeout", "too slow"), trace_id="d" * 32)
        + item_result("a", 0)
    )
    write_junit(path, results, SUMMARY, "flow")
    cases = {case.attrib["name"]: case for case in read_junit(path)}
    assert list(cases) == ["b", "c", "d", "a"]
    assert {case.attrib["classname"] for case in cases.values()} == {"flow"}
    assert [child.tag for child in cases["b"]] == ["skipped"]
    assert [(child.tag, child.attrib.get("type")) for child in cases["c"]] == [
        ("failure", "output_schema"),
        ("system-out", None),
    ]
    (error, trace) = cases["d"]
    assert (error.tag, error.attrib, error.text) == (
        "error",
        {"type": "timeout", "message": "writer: too slow"},
        "writer: too slow",
    )
    assert trace.text == f"trace {'d' * 32}"
    assert list(cases["a"]) == []


def test_hostile_text_is_harmless_and_well_formed(tmp_path: Path) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    hostile = 'a"<b>&\x00\x1b[2J\x9b\ud800\ufffe]]>\u202e\nline 2 <![CDATA[ü'
    results.write_bytes(item_result(hostile, 0, "error", error=("\x1b]<x>", hostile)))
    write_junit(path, results, SUMMARY, hostile)
    (case,) = read_junit(path)
    text = path.read_text("utf-8")
    assert not any((ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160 for char in text)
    assert case.attrib["name"].endswith("line 2 <![CDATA[ü")
    assert (case[0].text or "").endswith("line 2 <![CDATA[ü")
    assert "\n" not in case[0].attrib["message"]
    assert case[0].attrib["type"] == "]<x>"


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    results.write_bytes(item_result("a", 0, "error", error=("server", "x" * 1_000_000)))
    write_junit(path, results, SUMMARY, "flow")
    assert len(read_junit(path)) == 1
    assert path.stat().st_size < 30_000


@pytest.mark.parametrize("verdict", ["stopped", "interrupted"])
def test_a_run_that_ended_early_is_an_error_itself(tmp_path: Path, verdict: str) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    results.write_bytes(item_result("a"))
    ended = replace(SUMMARY, verdict=verdict, stop_reason="max_cost $1 is reached")  # type: ignore[arg-type]
    write_junit(path, results, ended, "flow")
    item, run = read_junit(path)
    assert list(item) == []
    assert (run.attrib["name"], run[0].tag, run[0].attrib["type"]) == ("the run", "error", verdict)
    assert "max_cost $1 is reached" in run[0].attrib["message"]
    write_junit(path, tmp_path / "none.jsonl", ended, "flow")
    assert len(read_junit(path)) == 1
    write_junit(path, None, replace(ended, verdict="ok"), "flow")
    assert read_junit(path) == []


def test_a_run_that_could_not_begin(tmp_path: Path) -> None:
    write_broken(tmp_path / "j.xml", InputError("in.jsonl: no such file"), "flow", "2026-11-21T07:00:00.5+00:00")
    (run,) = read_junit(tmp_path / "j.xml")
    assert run[0].attrib == {"type": "InputError", "message": "in.jsonl: no such file"}


def test_where_it_can_t_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the JUnit file cannot be written: No such file"):
        write_junit(tmp_path / "no" / "j.xml", None, SUMMARY, "flow")


def test_what_is_a_failure_and_what_an_error() -> None:
    for kind, outcome in (
        ("content_filter", "failure"),
        ("max_turns", "failure"),
        ("auth", "error"),
        ("input", "error"),
    ):
        assert case_of(json.loads(item_result("a", 0, "error", error=(kind, "")))).outcome == outcome


def test_a_failed_check_is_a_failure(tmp_path: Path) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    passed = {"passed": True, "score": 1.0, "message": ""}
    failed = {"passed": False, "score": 0.2, "message": "0.2 is below 0.7"}
    for number, checks in enumerate(({"good": passed}, {"good": passed, "right": failed, "near": failed})):
        line = json.loads(item_result(number, number))
        with results.open("ab") as file:
            file.write(json.dumps({**line, "checks": checks}).encode() + b"\n")
    write_junit(path, results, SUMMARY, "flow")
    one, other = read_junit(path)
    assert [(element.tag, element.text) for element in one] == [("system-out", "scores good 1.000")]
    assert (other[1].text or "").endswith("\nscores good 1.000, right 0.200, near 0.200")
    assert other[0].attrib == {"type": "check", "message": "right: 0.2 is below 0.7"}
    assert other[0].text == "right: 0.2 is below 0.7\nnear: 0.2 is below 0.7"


def test_each_threshold_is_a_case(tmp_path: Path) -> None:
    results, path = tmp_path / "r.jsonl", tmp_path / "j.xml"
    results.write_bytes(item_result("a", 0))
    checks = (
        CheckCount("right", 8, 2, 0.85, least_share=0.9),
        CheckCount("short", 10, 0, None, least_share=0.5),
        CheckCount("polite", 3, 7, None),
    )
    ended = replace(SUMMARY, verdict="failed", checks=checks)
    write_junit(path, results, ended, "flow")
    item, missed, met = read_junit(path)
    assert item.attrib["name"] == "a"
    assert (missed.attrib["name"], missed[0].tag) == ("threshold of right", "failure")
    assert missed[0].text == "80% passed, mean score 0.850; the threshold is a share of 90%"
    assert (met.attrib["name"], list(met)) == ("threshold of short", [])
    write_junit(path, results, replace(ended, verdict="stopped"), "flow")
    assert [case.attrib["name"] for case in read_junit(path)] == ["a", "the run"]
