"""`agentbatch run -v` and `--log-file`, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEY = "sk-c4n4ry-0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(
        "version: 1\n"
        "models:\n"
        "  m: {provider: mock, retries: 0, errors: {bad_request: 0.5}}\n"
        "  unused: {provider: openai, model: x, api_key: '${TEST_KEY}'}\n"
        "agents: {writer: {model: m, prompt: 'Write {{ input.n }}'}, other: {model: unused, prompt: x}}\n"
        "workflow: writer\n"
    )
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": f"{KEY}-{n}", "n": n}) + "\n" for n in range(10)))
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TEST_KEY": KEY}
    command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_the_log_has_what_failed_and_no_key(folder: Path) -> None:
    done = run(folder, "--log-file", "l.log")
    assert done.stdout == ""
    assert "attempt 1" not in done.stderr
    text = (folder / "l.log").read_text()
    assert KEY not in text
    lines = [json.loads(line) for line in text.splitlines()]
    results = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    failed = {line["trace_id"] for line in results if line["status"] != "ok"}
    assert {line["trace_id"] for line in lines if "trace_id" in line} == failed
    assert {line["level"] for line in lines} == {"INFO"}
    assert lines[0]["message"] == "the run begins: in.jsonl, 10 items, done before: 0"
    assert lines[-1]["message"].startswith("the run has ended: ")


def test_verbose_says_it_on_stderr_and_logs_every_step(folder: Path) -> None:
    done = run(folder, "-v", "--log-file", "l.log", "--progress", "none")
    assert done.stdout == ""
    assert "attempt 1 on mock failed" in done.stderr
    assert KEY not in done.stderr
    messages = [json.loads(line)["message"] for line in (folder / "l.log").read_text().splitlines()]
    assert sum("agent writer" in message for message in messages) == 10


def test_the_log_is_no_other_file_of_the_run(folder: Path) -> None:
    for name, code in (("r.jsonl", 2), ("r.traces.jsonl", 2), ("in.jsonl", 2), ("no/l.log", 74)):
        done = run(folder, "--log-file", name)
        assert done.returncode == code, name
        assert "another --log-file" in done.stderr
    assert not (folder / "r.jsonl").exists()
