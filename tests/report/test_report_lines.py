from pathlib import Path

import pytest
from run_files import failed, result, step, write_results

from agentbatch.errors import InputError
from agentbatch.report.result_lines import ResultLine, ResultLines, count_lines, step_name


def read(path: Path) -> tuple[list[ResultLine], list[int]]:
    lines = ResultLines(path)
    return list(lines), lines.bad


def test_a_line_with_all_its_fields(tmp_path: Path) -> None:
    agents = {"g": {"kind": "parallel", "status": "ok"}, "g[1].writer[2]": step(output={"a": 1}, queued_s=0.5)}
    path = write_results(tmp_path / "r.jsonl", result(7, agents=agents, truncated=True, queued_s=0.25))
    ((line,), bad) = read(path)
    assert bad == []
    assert (line.number, line.id, line.status, line.truncated) == (1, "7", "ok", True)
    assert (line.input_tokens, line.output_tokens, line.requests, line.cost_usd) == (10, 5, 1, 0.01)
    assert (line.queued_s, line.duration_s) == (0.25, 1.0)
    assert [(one.name, one.is_flow) for one in line.steps] == [("g", True), ("writer", False)]
    assert (line.steps[1].queued_s, line.steps[1].output) == (0.5, {"a": 1})


def test_a_failed_line_says_why(tmp_path: Path) -> None:
    ((line,), _) = read(write_results(tmp_path / "r.jsonl", failed(1, "auth", "no key")))
    assert line.error is not None
    assert line.error == ("auth", "no key", "writer", 500)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"error": []},
        {"agents": None, "usage": 3, "cost_usd": "free", "started_at": "yesterday", "queued_s": None},
        {"agents": {"a": 1, "b": {"usage": [], "output": None}}, "trace_id": 5, "error": {"type": 4}},
    ],
)
def test_old_and_odd_lines_lack_only_what_they_lack(tmp_path: Path, fields: dict[str, object]) -> None:
    ((line,), bad) = read(write_results(tmp_path / "r.jsonl", {"id": "a", "status": "ok", "output": 1} | fields))
    assert bad == []
    assert (line.id, line.cost_usd, line.input_tokens, line.started_ns, line.trace_id) == ("a", None, 0, None, "")


def test_lines_that_are_no_results_are_named(tmp_path: Path) -> None:
    lines = [result(1), b'{"id": 3}\n', b"\n", b"[]\n", result(2), b'{"id": "4", "sta']
    path = write_results(tmp_path / "r.jsonl", *lines)
    good, bad = read(path)
    assert [line.id for line in good] == ["1", "2"]
    assert bad == [2, 4, 6]
    assert count_lines(path) == 6


@pytest.mark.parametrize(("content", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"a\n\n", 2)])
def test_lines_are_counted_with_or_without_the_last_newline(tmp_path: Path, content: bytes, lines: int) -> None:
    assert count_lines(write_results(tmp_path / "r.jsonl", content)) == lines


@pytest.mark.parametrize("content", [b"", b'{"id":"1","ind', b"\n\n"])
def test_a_run_that_was_killed_at_once_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    assert read(write_results(tmp_path / "r.jsonl", content))[0] == []


@pytest.mark.parametrize("content", [b"id,name\n1,x\n", b'{"product": "lamp"}\n{"product": "shoe"}\n'])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="has no result line of agentbatch"):
        read(write_results(tmp_path / "r.jsonl", content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.jsonl: there is no such file"):
        read(tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("path", "name"),
    [("writer", "writer"), ("writer[2]", "writer"), ("refine[1].critic", "critic"), ("a.b[3].c[1]", "c")],
)
def test_what_the_config_calls_a_step(path: str, name: str) -> None:
    assert step_name(path) == name
