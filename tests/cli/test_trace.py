"""`agentbatch trace` on the files of a real run."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentbatch.cli.app import app
from agentbatch.errors import InputError

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models:
  m: {provider: mock, retries: 2, errors: {server: 0.03, bad_request: 0.05}, price: {input: 1, output: 2}}
agents:
  writer: {model: m, prompt: "Write {{ input.n }}"}
  critic: {model: m, prompt: "Judge {{ writer.output }}"}
  seo: {model: m, prompt: "Words for {{ input.n }}"}
groups:
  refine: {loop: [writer, critic], max_iterations: 2}
  both: {parallel: [refine, seo]}
workflow: both
"""


def agentbatch(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environment}
    command = [sys.executable, "-m", "agentbatch", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twenty items, of which some failed and many were tried again."""
    path = tmp_path_factory.mktemp("run")
    (path / "c.yaml").write_text(CONFIG)
    (path / "in.jsonl").write_text("".join(json.dumps({"id": f"i{n}", "n": n}) + "\n" for n in range(20)))
    done = agentbatch("run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "-q", "--set", "defaults.timeout=5s", cwd=path)
    assert done.returncode == 1, done.stderr
    return path


@dataclass(frozen=True)
class Shown:
    code: int
    stdout: str
    stderr: str
    error: BaseException | None = None


def trace(folder: Path, *arguments: str) -> Shown:
    """What the command shows, called in this process."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, ["trace", *arguments], catch_exceptions=True)
    return Shown(done.exit_code, done.stdout, done.stderr, done.exception)


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]


def test_one_item_as_a_tree(folder: Path) -> None:
    (line,) = [line for line in results(folder) if line["id"] == "i3"]
    for wanted in ("i3", str(line["trace_id"]), str(line["trace_id"])[:8]):
        shown = trace(folder, "r.jsonl", wanted)
        assert (shown.code, shown.stderr) == (0, "")
        head, _, *rows = shown.stdout.splitlines()
        assert head.startswith(f"trace {line['trace_id']}, began 20")
        assert rows[0].startswith("item i3 ")
        assert all(label in shown.stdout for label in ("├─ refine  loop", "│  ├─ refine[1]  iteration", "└─ seo  chat"))
        assert "\x1b" not in shown.stdout


def test_one_item_as_json_has_all_its_spans(folder: Path) -> None:
    (line,) = [line for line in results(folder) if line["id"] == "i3"]
    document = json.loads(trace(folder, "r.jsonl", "i3", "--json").stdout)
    attempts = [span for span in document["spans"] if span["kind"] == "chat"]
    assert len(attempts) == line["usage"]["requests"]  # type: ignore[index]
    assert document["status"] == line["status"]
    assert document["spans"][0]["parent_id"] is None


def test_the_list_has_the_newest_last(folder: Path) -> None:
    shown = trace(folder, "r.jsonl")
    ids = [row.split()[1] for row in shown.stdout.splitlines()[1:]]
    assert sorted(ids) == sorted(f"i{n}" for n in range(20))
    shown = trace(folder, "r.jsonl", "--limit", "3")
    assert [row.split()[1] for row in shown.stdout.splitlines()[1:]] == ids[-3:]
    assert shown.stderr == "and 17 before these: --limit 0 lists all\n"


def test_lists_as_json(folder: Path) -> None:
    failed = {line["id"] for line in results(folder) if line["status"] != "ok"}
    assert failed
    entries = [json.loads(line) for line in trace(folder, "r.jsonl", "--json").stdout.splitlines()]
    assert len(entries) == 20
    shown = trace(folder, "r.jsonl", "--failed", "--json").stdout.splitlines()
    assert {json.loads(line)["item_id"] for line in shown} == failed
    slowest = trace(folder, "r.jsonl", "--slowest", "4", "--json").stdout.splitlines()
    durations = [json.loads(line)["duration_s"] for line in slowest]
    assert durations == sorted((entry["duration_s"] for entry in entries), reverse=True)[:4]
    kinds = [json.loads(line) for line in trace(folder, "r.jsonl", "--errors", "--json").stdout.splitlines()]
    assert sum(kind["count"] for kind in kinds) == len(failed)
    assert {kind["example"]["item_id"] for kind in kinds} <= failed


def test_errors_for_people(folder: Path) -> None:
    shown = trace(folder, "r.jsonl", "--errors")
    assert "bad_request" in shown.stdout
    assert ", trace " in shown.stdout


def test_a_request_leads_to_its_item(folder: Path) -> None:
    document = json.loads(trace(folder, "r.jsonl", "i5", "--json").stdout)
    request = next(span["attributes"]["request_id"] for span in document["spans"] if "request_id" in span["attributes"])
    shown = trace(folder, "r.jsonl", "--request", request, "--json")
    assert json.loads(shown.stdout)["item_id"] == "i5"


def test_results_without_traces(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes((folder / "r.jsonl").read_bytes())
    shown = trace(tmp_path, "r.jsonl", "i3")
    assert shown.code == 0
    assert shown.stderr == "note: r.jsonl has no trace file beside it: this is what the results say\n"
    assert "item i3" in shown.stdout
    assert "refine[1]" in shown.stdout
    listed = trace(tmp_path, "r.jsonl", "--json").stdout.splitlines()
    assert len(listed) == 20
    assert len(list(tmp_path.iterdir())) == 1


def test_questions_without_an_answer(folder: Path) -> None:
    (folder / "inputs.jsonl").write_text('{"product": "lamp"}\n')
    for arguments, message in (
        (("r.jsonl", "--traces", "r.jsonl"), "r.jsonl: has no trace of agentbatch in it"),
        (("nope.jsonl",), "nope.jsonl: there is no such file; name the results that `agentbatch run` wrote"),
        (("inputs.jsonl",), "inputs.jsonl: has no result line of agentbatch in it; name the results"),
        (("r.jsonl", "i99"), "r.jsonl: has no item, trace or request 'i99'"),
        (("r.jsonl", "--request", "no-such"), "no request has the id 'no-such'"),
    ):
        shown = trace(folder, *arguments)
        assert isinstance(shown.error, InputError)
        assert message in str(shown.error)
        assert shown.stdout == ""


@pytest.mark.parametrize(
    "arguments", [("i3", "--failed"), ("--errors", "--slowest", "2"), ("--request", "x", "--errors")]
)
def test_questions_that_exclude_each_other(folder: Path, arguments: tuple[str, ...]) -> None:
    shown = trace(folder, "r.jsonl", *arguments)
    assert shown.code == 2
    assert "exclude each other: choose one" in shown.stderr


def test_where_only_ascii_is_shown(folder: Path) -> None:
    shown = agentbatch("trace", "r.jsonl", "i3", cwd=folder, LC_ALL="C")
    assert shown.stdout.isascii()
    assert "`- " in shown.stdout


def test_a_reader_that_leaves_early(folder: Path) -> None:
    command = f"{sys.executable} -m agentbatch trace r.jsonl --json | head -1; echo ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "141")
