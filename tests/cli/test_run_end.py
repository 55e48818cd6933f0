"""What `agentbatch run` leaves for CI, however it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from junit_schema import read_junit
from summary_schema import SUMMARY_SCHEMA

ROOT = Path(__file__).parents[2]
NEEDS_DEV_FULL = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
CONFIG = """\
version: 1
models: {m: {provider: mock, retries: 0, errors: {bad_request: 0.3}}}
agents: {writer: {model: m, prompt: "Write {{ input.n }}"}}
workflow: writer
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": f"i{n}", "n": n}) + "\n" for n in range(30)))
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", *arguments]
    env = {**clean, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_junit_has_every_item(folder: Path) -> None:
    done = run(folder, "--junit", "j.xml", "--limit", "10")
    again = run(folder, "--junit", "j.xml")
    assert (done.returncode, again.returncode) == (1, 1)
    cases = read_junit(folder / "j.xml")
    assert sorted(case.attrib["name"] for case in cases) == sorted(f"i{n}" for n in range(30))
    lines = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    failed = {line["id"] for line in lines if line["status"] != "ok"}
    assert {case.attrib["name"] for case in cases if case.find("error") is not None} == failed
    assert {case.attrib["classname"] for case in cases} == {"writer"}


def test_the_summary_keeps_its_form_however_the_run_ends(folder: Path) -> None:
    for arguments, code in ((("--fail-fast",), 3), ((), 1), ((), 1)):
        done = run(folder, "--summary", "s.json", *arguments)
        assert done.returncode == code
        document = json.loads((folder / "s.json").read_text())
        Draft202012Validator(SUMMARY_SCHEMA).validate(document)
        assert sum(one["share"] for one in document["bound_by"]) == pytest.approx(1, abs=0.01)
    assert document["counts"] == {}


def test_what_the_time_went_to_stands_beside_the_results(folder: Path) -> None:
    slow = ("--set", "models.m.latency=20ms", "--max-concurrency", "2", "-q")
    run(folder, "--limit", "10", *slow)
    first = times_of(folder)
    run(folder, *slow)
    assert set(first) <= {"concurrency", "cpu", "other", "provider"}
    assert sum(times_of(folder).values()) > sum(first.values()) > 0


def times_of(folder: Path) -> dict[str, float]:
    header = json.loads((folder / "r.run.json").read_text())
    return {entry["what"]: entry["seconds"] for entry in header["bound_by"]}


def test_junit_of_a_run_that_is_stopped_or_can_t_begin(folder: Path) -> None:
    done = run(folder, "--junit", "j.xml", "--fail-fast")
    assert done.returncode == 3
    assert [case[0].attrib["type"] for case in read_junit(folder / "j.xml") if case.attrib["name"] == "the run"] == [
        "stopped"
    ]
    done = run(folder, "--junit", "j.xml", "--set", "agents.writer.prompt=Other")
    assert done.returncode == 2
    (case,) = read_junit(folder / "j.xml")
    assert "r.jsonl was begun with something else" in case[0].attrib["message"]


def test_junit_of_an_interrupted_run(folder: Path) -> None:
    (folder / "c.yaml").write_text(CONFIG.replace("provider: mock", "provider: mock, latency: 60s"))
    command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "--junit", "j.xml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "1"}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first plain line: the run goes
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    (case,) = read_junit(folder / "j.xml")
    assert case[0].attrib["type"] == "interrupted"


def test_junit_needs_a_results_file(folder: Path) -> None:
    done = run(folder, "-o", "-", "--junit", "j.xml")
    assert done.returncode == 2
    assert "--junit is made of the results file" in done.stderr


def test_github_is_told_in_its_steps_and_only_there(folder: Path) -> None:
    done = run(folder, "-q", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "s.md"))
    assert done.stdout == ""
    commands = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert [command.partition(" ")[0] for command in commands] == ["::error", "::error"]
    assert (folder / "s.md").read_text().startswith("### ")
    assert "::" not in run(folder, "--overwrite").stderr.replace("::1", "")
    assert "::error" not in run(folder, "--overwrite", "--no-github", GITHUB_ACTIONS="true").stderr
    assert "::error" in run(folder, "--overwrite", "--github").stderr


@NEEDS_DEV_FULL
def test_a_summary_that_can_t_be_written_is_no_failure_but_a_junit_file_is(folder: Path) -> None:
    done = run(folder, "--max-failures", "100%", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder))
    assert done.returncode == 0
    assert "the step's summary cannot be written" in done.stderr
    done = run(folder, "--junit", "/dev/full", "--summary", "s.json", "--max-failures", "100%")
    assert done.returncode == 74
    assert "/dev/full: the JUnit file cannot be written" in done.stderr
    assert json.loads((folder / "s.json").read_text())["verdict"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--summary", "nowhere/s.json"), "mkdir -p nowhere"),
        (("--junit", "nowhere/j.xml"), "mkdir -p nowhere"),
        (("--junit", "."), "name a file in it"),
        (("-o", "."), "name a file in it"),
    ],
)
def test_what_can_not_be_written_is_said_before_anything_is_paid(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(folder, *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (74, 1), done.stderr
    assert words in done.stderr
    assert not (folder / "r.jsonl").exists()


@NEEDS_DEV_FULL
def test_a_full_stdout_is_no_bug_of_ours(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "agentbatch", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=folder, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (74, "the output: cannot be written: No space left on device\n")
