"""Memory that does not grow with the inputs, and descriptors that are few."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project, environment
from end_to_end.provider import Provider, good


def peak_mb(project: Project, items: int) -> float:
    """The most memory that a run over so many items of the built-in mock takes."""
    project.configure(model={"max_concurrency": 256})
    project.config["models"]["m"] = {"provider": "mock", "max_concurrency": 256}
    (project.folder / "config.yaml").write_text(json.dumps(project.config))
    with project.inputs.open("w") as file:
        file.writelines(f'{{"id": "item-{number}", "text": "some words about {number}"}}\n' for number in range(items))
    program = (
        "import resource, runpy, sys; sys.argv = ['agentbatch', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('agentbatch', run_name='__main__')\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", program, "run", "config.yaml", "in.jsonl", "-o", f"{items}.jsonl", "-q"]
    ended = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1]) / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_inputs(project: Project) -> None:
    few, many = peak_mb(project, 10_000), peak_mb(project, 200_000)
    assert many - few < 40, f"{few:.0f} MB for 10,000 items, {many:.0f} MB for 200,000"


def test_few_descriptors_are_no_failure_of_items(project: Project, provider: Provider) -> None:
    """The soft limit is raised; where the hard one is small, the window fits into it."""
    ids = project.give(150)
    project.configure(model={"max_concurrency": 120})
    provider.script = lambda asked: good(asked.id, delay=0.02)
    ended = project.run(under=["prlimit", "--nofile=50:50"])
    assert ended.code == 0, ended.stderr
    assert "requests at once instead of 120" in ended.stderr
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_a_small_soft_limit_of_descriptors_is_raised(project: Project, provider: Provider) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ids = project.give(100)
    project.configure(model={"max_concurrency": 80})
    provider.script = lambda asked: good(asked.id, delay=0.2)
    ended = project.run(under=["prlimit", f"--nofile=40:{hard}"])
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert provider.peak == 80
