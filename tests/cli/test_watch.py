"""`agentbatch watch` beside a run that goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 30ms, max_concurrency: 4, price: {input: 1, output: 1}}}
agents: {writer: {model: m, prompt: "Write {{ input.n }}"}}
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(400)))
    return tmp_path


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agentbatch", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("traces", [True, False])
def test_it_follows_a_run_to_its_end(folder: Path, traces: bool) -> None:
    more = [] if traces else ["--no-traces"]
    with started(folder, "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "--progress", "json", *more) as run:
        assert run.stderr is not None
        run.stderr.readline()  # a second after the start: it runs
        with started(folder, "watch", "r.jsonl", "--progress", "json") as watch:
            stdout, stderr = watch.communicate(timeout=60)
        run.communicate(timeout=60)
    assert (run.returncode, watch.returncode, stdout) == (0, 0, "")
    first, *lines, end = stderr.splitlines()
    assert first.startswith(f"pid {run.pid} on ")
    assert end.startswith("The run has ended: 400 of 400 items. ")
    last = json.loads(lines[-1])
    assert (last["done"], last["total"], last["calls"], last["in_flight"]) == (400, 400, 400, None)
    assert last["agents"]["writer"]["ok"] == 400


def test_it_ends_when_the_run_is_killed(folder: Path) -> None:
    with started(folder, "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "--progress", "json") as run:
        assert run.stderr is not None
        run.stderr.readline()
        with started(folder, "watch", "r.jsonl") as watch:
            assert watch.stderr is not None
            watch.stderr.readline()
            run.send_signal(signal.SIGKILL)
            rest = watch.stderr.read()
    assert watch.returncode == 0
    assert "The run has ended: " in rest


def test_where_no_run_goes_there_is_nothing_to_watch(folder: Path) -> None:
    with started(folder, "watch", "r.jsonl") as watch:
        _, stderr = watch.communicate(timeout=60)
    assert watch.returncode == 2
    assert stderr == "r.jsonl: there is no such file, and no run that writes it; name the results of a run\n"
    (folder / "r.jsonl").touch()
    with started(folder, "watch", "r.jsonl") as watch:
        _, stderr = watch.communicate(timeout=60)
    assert watch.returncode == 2
    assert stderr == "r.jsonl: no run writes it now; `agentbatch results stats` says what is in it\n"
