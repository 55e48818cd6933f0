"""`agentbatch report` as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_files import failed, result, simple_trace, unpacked, write_results

ROOT = Path(__file__).parents[2]


def report(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "agentbatch", "report", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, timeout=60)


def test_the_page_stands_beside_the_results(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_results(tmp_path / "out" / "x.results.jsonl", result(1), failed(2))
    (tmp_path / "out" / "x.results.traces.jsonl").write_bytes(simple_trace(1))
    done = report("out/x.results.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"wrote out/x.results.report.html (")
    page = (tmp_path / "out" / "x.results.report.html").read_bytes()
    assert unpacked(page, "run-0")["run"]["failed"] == 1
    assert len(unpacked(page, "timelines-0")) == 1


def test_an_earlier_page_is_replaced(tmp_path: Path) -> None:
    write_results(tmp_path / "x.jsonl", result(1))
    for earlier in (None, b"", b"<!doctype html>\n<p>an earlier one"):
        if earlier is not None:
            (tmp_path / "x.html").write_bytes(earlier)
        assert report("x.jsonl", "-o", "x.html", cwd=tmp_path).returncode == 0
        assert unpacked((tmp_path / "x.html").read_bytes(), "run-0")["run"]["items"] == 1


def test_stdout_and_other_traces(tmp_path: Path) -> None:
    write_results(tmp_path / "x.jsonl", result(1))
    (tmp_path / "t.jsonl").write_bytes(simple_trace(1))
    done = report("x.jsonl", "-o", "-", "--traces", "t.jsonl", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(b"<!doctype html>")
    assert unpacked(done.stdout, "places-0")["places"] == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "x.jsonl"]


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    write_results(tmp_path / "a.jsonl", failed(1))
    write_results(tmp_path / "b.jsonl", result(1))
    done = report("b.jsonl", "--compare", "a.jsonl", "-o", "c.html", cwd=tmp_path)
    assert done.returncode == 0
    assert unpacked((tmp_path / "c.html").read_bytes(), "run-0")["comparison"]["mended"]["count"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none.jsonl",), 2, b"none.jsonl: there is no such file"),
        (("x.jsonl", "-o", "x.jsonl"), 2, b"is what the report is made from"),
        (("x.jsonl", "--compare", "y.jsonl", "-o", "y.jsonl"), 2, b"is what the report is made from"),
        (("x.jsonl", "-o", "x.traces.jsonl"), 2, b"is what the report is made from"),
        (("x.jsonl", "--traces", "inputs.jsonl"), 2, b"inputs.jsonl: has no trace of agentbatch in it"),
        (("x.jsonl", "-o", "c.yaml"), 2, b"c.yaml: is there already, and is no page of a report"),
        (("x.jsonl", "-o", "inputs.jsonl"), 2, b"inputs.jsonl: is there already, and is no page of a report"),
        (("x.jsonl", "-o", "no/such/folder.html"), 74, b"no/such/folder.html: can't be written: No such file"),
        (("inputs.jsonl",), 2, b"has no result line of agentbatch"),
    ],
)
def test_what_can_not_be_done(tmp_path: Path, arguments: tuple[str, ...], code: int, said: bytes) -> None:
    for name in ("x", "y"):
        write_results(tmp_path / f"{name}.jsonl", result(1))
    (tmp_path / "x.traces.jsonl").write_bytes(simple_trace(1))
    (tmp_path / "inputs.jsonl").write_text('{"product": "lamp"}\n')
    (tmp_path / "c.yaml").write_text("version: 1\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = report(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_page_that_could_not_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"product": "lamp"}\n')
    (tmp_path / "bad.report.html").write_text("the old page")
    assert report("bad.jsonl", cwd=tmp_path).returncode == 2
    assert (tmp_path / "bad.report.html").read_text() == "the old page"
