"""A run on a cluster whose head is lost: it ends in order, before Ray would end it without a word."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from engines_ray_project import RayProject, told_by
from network import no_network
from ray_nodes import RayNodes

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(no_network() is not None, reason=str(no_network())),
]


def test_the_run_ends_in_order_and_the_same_command_continues_it(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(20_000)
    with RayNodes(2) as nodes:
        process = subprocess.Popen(
            [*nodes.inside(2), *nodes.without_sight_of(1), *project.command("--address", nodes.address)],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            env=nodes.environ,
        )
        give_up = time.monotonic() + 150
        while not project.lines():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.1)
        nodes.kill(1)
        said = told_by(process, 120)
    assert process.returncode == 3, said
    assert "the head of the Ray cluster" in said
    assert "Continue with:" in said
    before = project.results()
    assert 0 < len(before) < 20_000
    done = subprocess.run(
        project.command("--engine", "local", "--set", "models.m.max_concurrency=1000"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line["index"] for line in project.results()] == list(range(20_000))
