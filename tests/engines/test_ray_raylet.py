"""A run whose machine's raylet is killed: it ends in order, before Ray ends the process without a word."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from engines_ray_project import CONFIG, RayProject, told_by

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow


def raylet_below(pid: int) -> int:
    """The raylet that a run has begun."""
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for found in child.read_text().split():
            if Path(f"/proc/{found}/cmdline").read_bytes().split(b"\0")[0].endswith(b"/raylet"):
                return int(found)
    raise AssertionError("no raylet")


@pytest.mark.parametrize("padding", [0, 20_000])
def test_the_run_ends_in_order_and_the_same_command_continues_it(tmp_path: Path, padding: int):
    """Of results that are large Ray wants its object store, which has ended with the raylet."""
    project = RayProject(tmp_path, CONFIG.replace("Hello", "Hello {{ input.x }}"))
    total = 3000
    project.write(total, [{"n": n, "x": "x" * padding} for n in range(total)])
    process = project.start("--workers", "2")
    give_up = time.monotonic() + 150
    while not project.lines():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    os.kill(raylet_below(process.pid), signal.SIGKILL)
    said = told_by(process, 60)
    assert process.returncode == 3, said
    assert said.count("the Ray process on this machine (raylet) has ended") == 1, said
    assert "Continue with:" in said
    assert not (tmp_path / "in.results.jsonl.lock").exists()
    before = project.results()
    assert 0 < len(before) < total
    code, said = project.run("--workers", "2", "--set", "models.m.max_concurrency=1000")
    assert code == 0, said
    assert [line["index"] for line in project.results()] == list(range(total))
