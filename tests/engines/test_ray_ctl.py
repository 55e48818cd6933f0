"""`agentbatch ctl` on a run whose items are on other processes: look, pause, resume, stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines_ray_project import RayProject

from agentbatch.ctl.client import ask
from agentbatch.errors import InputError

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

ITEMS = 2000


def wait_until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 120
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_run_is_looked_at_paused_resumed_and_stopped(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(ITEMS)
    process = project.start("--workers", "1")
    results = tmp_path / "in.results.jsonl"

    def tell(do: str, **more: Any) -> dict[str, Any]:
        return ask(results, do=do, **more)

    wait_until(lambda: project.lines() >= 20)
    status = tell("status")
    assert (status["state"], status["items"]["total"]) == ("running", ITEMS)
    assert status["items"]["in_flight"] > 0
    assert status["limits"]["models.m.max_concurrency"] == 40

    assert tell("pause")["state"] == "paused"
    wait_until(lambda: tell("status")["requests"]["in_flight"] == 0)
    before = project.lines()
    wait_until(lambda: tell("status")["elapsed_s"] > status["elapsed_s"] + 3)
    assert project.lines() == before
    assert tell("resume")["state"] == "running"
    wait_until(lambda: project.lines() > before)

    with pytest.raises(
        InputError, match=r"models\.m\.rpm can't be set while a run goes on Ray: .*--set models\.m\.rpm=5"
    ):
        tell("set", key="models.m.rpm", value=5)
    assert tell("stop")["state"] == "stopping"
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert before < project.lines() < ITEMS
