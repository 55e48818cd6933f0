"""`agentbatch run` with checks: exit codes, continued runs, and what is told at the end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models: {m: {provider: mock, reply: "{{ prompt }}"}}
agents: {writer: {model: m, prompt: "{{ input.q }}"}}
checks: {right: {equals: input.expected}}
thresholds: {right: {min: 0.75}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    answers = ["a", "b", "c", "d", "e", "f", "g", "h"]
    lines = [{"q": answer, "expected": "a" if answer in "cd" else answer} for answer in answers]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "--json", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_threshold_that_is_reached(folder: Path) -> None:
    code, summary, stderr = run(folder)
    assert (code, summary["verdict"]) == (0, "ok")
    assert summary["checks"]["right"] == {
        "passed": 6,
        "failed": 2,
        "share": 0.75,
        "mean_score": 0.75,
        "min": 0.75,
        "min_mean_score": None,
        "met": True,
    }
    assert "  right       6       2    75%       0.750\n" in stderr


def test_a_threshold_that_is_missed(folder: Path) -> None:
    code, summary, stderr = run(folder, "--set", "thresholds.right.min=0.8")
    assert (code, summary["verdict"], summary["counts"]) == (1, "failed", {"ok": 8})
    assert "Below its threshold: right." in stderr


def test_earlier_runs_count_too(folder: Path) -> None:
    code, summary, _ = run(folder, "--limit", "4")
    assert (code, summary["checks"]["right"]["passed"], summary["checks"]["right"]["failed"]) == (1, 2, 2)
    code, summary, _ = run(folder)
    assert (code, summary["counts"], summary["checks"]["right"]["passed"]) == (0, {"ok": 4}, 6)
    code, summary, _ = run(folder)
    assert (code, summary["counts"], summary["checks"]["right"]["share"]) == (0, {}, 0.75)


def test_an_item_that_fails_has_failed_its_checks(folder: Path) -> None:
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"q": "x"}\n{"expected": "x"}\n')
    code, summary, _ = run(folder, "--max-failures", "50%")
    assert (code, summary["checks"]["right"]["passed"], summary["checks"]["right"]["failed"]) == (1, 6, 4)
