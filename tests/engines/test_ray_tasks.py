"""`executor: ray`: functions as tasks of Ray's; a crash is its own item's."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines_ray_project import RayProject

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
agents:
  work: {kind: function, function: "mine:work", executor: ray, timeout: 30s, placement: {disk: tape}}
  after: {kind: function, function: "mine:after", executor: ray}
workflow: [work, after]
"""
MODULE = """\
import os
import time

def work(input):
    if input["n"] == 3:
        os._exit(7)
    if input["n"] == 5:
        raise ValueError("no fives")
    return {"pid": os.getpid(), "n": input["n"]}

async def after(work):
    return work["n"] * 2
"""


def test_functions_run_as_tasks_and_a_crash_costs_its_own_item(tmp_path: Path):
    (tmp_path / "mine.py").write_text(MODULE)
    project = RayProject(tmp_path, CONFIG)
    project.write(12)
    code, said = project.run("--workers", "1")
    assert code == 1, said
    lines = project.results()
    assert [line["status"] for line in lines] == ["error" if n in (3, 5) else "ok" for n in range(12)]
    assert [line["output"] for line in lines if line["status"] == "ok"] == [n * 2 for n in range(12) if n not in (3, 5)]
    crashed, raised = lines[3]["error"], lines[5]["error"]
    assert (crashed["type"], raised["type"]) == ("function", "function")
    assert "the process of mine:work died" in crashed["message"]
    assert raised["message"] == "ValueError: no fives (mine.py:8)"
    pids = {line["agents"]["work"]["output"]["pid"] for line in lines if line["status"] == "ok"}
    assert len(pids) >= 1
    code, said = project.run("--engine", "local", "--overwrite")
    assert code == 1, said
    assert [line["status"] for line in project.results()] == [line["status"] for line in lines]
