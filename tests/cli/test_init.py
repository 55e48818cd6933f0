"""`agentbatch init`: what it writes runs at once, and nothing is overwritten."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def agentbatch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentbatch", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_what_it_writes_validates_and_runs(tmp_path: Path) -> None:
    done = agentbatch("init", "my project", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "my project"
    assert sorted(path.name for path in folder.iterdir()) == ["agentbatch.schema.json", "config.yaml", "inputs.jsonl"]
    assert done.stdout.splitlines()[-1] == "try it: agentbatch run 'my project/config.yaml' 'my project/inputs.jsonl'"
    checked = agentbatch("validate", "config.yaml", "inputs.jsonl", cwd=folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    ran = agentbatch("run", "config.yaml", "inputs.jsonl", "--set", "models.writing.latency=1ms", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in (folder / "inputs.results.jsonl").read_text().splitlines()]
    assert {line["id"]: line["status"] for line in lines} == {"shoe": "ok", "lamp": "ok", "tent": "ok"}
    assert all(line["output"]["critic"] == {"score": 0.9, "issues": []} for line in lines)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "inputs.jsonl").write_text("mine\n")
    done = agentbatch("init", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("inputs.jsonl: already there")
    assert [path.name for path in tmp_path.iterdir()] == ["inputs.jsonl"]
    assert (tmp_path / "inputs.jsonl").read_text() == "mine\n"


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = agentbatch("init", "file/dir", cwd=tmp_path)
    assert done.returncode == 74
    assert "can't be written" in done.stderr
