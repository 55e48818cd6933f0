"""Runs on Ray under faults: no result lost, none doubled, and only what was in flight is asked again.

Ten times in a row, for what happens only now and then:
`for n in $(seq 10); do pytest -m slow -q tests/engines/test_ray_faults.py -k "killed or cut" || break; done`
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end.provider import Asked, Provider, Reply, good, running
from engines_ray_project import RayProject, told_by
from network import no_network
from ray_nodes import RayNodes

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

AT_ONCE = 12
CONFIG = """\
version: 1
models:
  m:
    {provider: openai, model: test-model, base_url: URL, api_key: none, max_concurrency: 12, MORE}
agents:
  first: {model: m, prompt: "first item={{ item.id }};"}
  second: {model: m, prompt: "second item={{ item.id }}; {{ first.output }}"}
  third: {model: m, prompt: "third item={{ item.id }}; {{ second.output }}"}
workflow: [first, second, third]
engine: {node_grace: 6s}
"""
CALLS = 3


def in_a_while(asked: Asked) -> Reply:
    return good(asked.id, delay=0.1)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(Provider(in_a_while)) as provider:
        yield provider


@pytest.fixture
def project(tmp_path: Path, provider: Provider) -> RayProject:
    return RayProject(tmp_path, CONFIG.replace("URL", provider.url).replace(", MORE", ""))


def below(pid: int) -> list[int]:
    """All processes under this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, to_see = [], [pid]
    while to_see:
        children = parents.get(to_see.pop(), [])
        found += children
        to_see += children
    return found


def stations(pids: list[int]) -> list[int]:
    """Those of the processes that are workers of ours."""
    found = []
    for pid in pids:
        try:
            if "StationActor" in (Path("/proc") / str(pid) / "cmdline").read_text():
                found.append(pid)
        except OSError:
            continue
    return found


def wait_for_lines(project: RayProject, lines: int, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 150
    while project.lines() < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.1)


def check_whole(project: RayProject, items: int) -> None:
    lines = project.results()
    assert [line["index"] for line in lines] == list(range(items))
    assert {line["status"] for line in lines} == {"ok"}


def asked_again(provider: Provider, items: int) -> int:
    """Requests beyond one of each prompt of each item."""
    prompts = Counter(asked.prompt for asked in provider.requests)
    assert len(prompts) == items * CALLS
    return sum(prompts.values()) - items * CALLS


def test_a_killed_workers_items_run_again_and_their_paid_calls_do_not(project: RayProject, provider: Provider):
    project.write(150)
    process = project.start("--workers", "2")
    wait_for_lines(project, 20, process)
    os.kill(stations(below(process.pid))[0], signal.SIGKILL)
    said = told_by(process, 150)
    assert process.returncode == 0, said
    assert "is lost" in said
    check_whole(project, 150)
    # what was in flight, and answers of the last 0.1 s on which nothing was built yet: as many again in calls of 0.1 s
    assert asked_again(provider, 150) <= 2 * AT_ONCE
    assert provider.peak <= AT_ONCE * 2  # the dead worker's requests, and those that follow them


def test_the_same_command_goes_on_after_the_driver_was_killed(project: RayProject, provider: Provider):
    project.write(150)
    process = project.start("--workers", "2")
    wait_for_lines(project, 20, process)
    ours = below(process.pid)
    process.kill()
    process.communicate()
    code, said = project.run("--workers", "2")
    assert code == 0, said
    check_whole(project, 150)
    assert asked_again(provider, 150) <= 2 * AT_ONCE
    give_up = time.monotonic() + 60
    while left := [pid for pid in ours if (Path("/proc") / str(pid)).exists() and not is_zombie(pid)]:
        assert time.monotonic() < give_up, left
        time.sleep(0.2)


def is_zombie(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_second_interrupt_ends_the_run_now(project: RayProject, provider: Provider):
    provider.script = lambda asked: good(asked.id, delay=30)
    project.write(50)
    process = project.start("--workers", "2")
    provider.wait_for(8)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = told_by(process, 60)
    assert process.returncode == 130, said
    assert time.monotonic() - began < 30
    assert project.results() == []


def test_a_refused_key_ends_the_run_with_few_requests(project: RayProject, provider: Provider):
    provider.script = lambda asked: Reply('{"error": {"message": "bad key"}}', "401 Unauthorized")
    project.write(400)
    code, said = project.run("--workers", "2")
    assert code == 3, said
    assert "auth" in said
    assert len(provider.requests) < 40
    assert project.results() == []


def test_limits_hold_over_both_workers(project: RayProject, provider: Provider):
    project.config = project.config.replace("max_concurrency: 12", "max_concurrency: 12, rpm: 1200")
    project.write(100)
    code, said = project.run("--workers", "2")
    assert code == 0, said
    assert provider.peak <= AT_ONCE
    assert provider.busiest(5.0) <= 1200 / 12 * 1.15
    assert asked_again(provider, 100) == 0


needs_nodes = pytest.mark.skipif(no_network() is not None, reason=str(no_network()))


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with RayNodes(3, labels={2: "disk=ssd", 3: "disk=ssd"}) as nodes:
        yield nodes


@pytest.fixture
def far(tmp_path: Path) -> RayProject:
    """A project whose provider is the built-in one: what runs inside a namespace can't reach a server of the test."""
    config = CONFIG.replace("provider: openai", "provider: mock, latency: 100ms")
    for key in (", model: test-model", ", base_url: URL", ", api_key: none", ", MORE"):
        config = config.replace(key, "")
    return RayProject(tmp_path, config)


def start_far(project: RayProject, nodes: RayNodes, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*nodes.inside(1), *project.command("--address", nodes.address, "--summary", "sum.json", *options)],
        cwd=project.folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
    )


def finish_far(project: RayProject, process: subprocess.Popen[str], items: int) -> str:
    said = told_by(process, 240)
    assert process.returncode == 0, said
    check_whole(project, items)
    return said


@needs_nodes
def test_three_nodes_a_node_killed_and_started_again(far: RayProject, nodes: RayNodes):
    far.write(1200)
    process = start_far(far, nodes)
    wait_for_lines(far, 150, process)
    nodes.kill(3)
    wait_for_lines(far, 300, process)
    nodes.start(3)
    said = finish_far(far, process, 1200)
    assert "is lost" in said
    calls = json.loads((far.folder / "sum.json").read_text())["calls"]
    assert calls <= 1200 * CALLS + AT_ONCE * CALLS


@needs_nodes
def test_a_node_cut_off_and_healed(far: RayProject, nodes: RayNodes):
    far.write(1200)
    process = start_far(far, nodes)
    wait_for_lines(far, 150, process)
    nodes.cut(2)
    wait_for_lines(far, 700, process)
    nodes.heal(2)
    said = finish_far(far, process, 1200)
    assert "is lost" in said


@needs_nodes
def test_a_node_with_placed_steps_cut_off_and_healed(far: RayProject, nodes: RayNodes):
    far.config = re.sub(r"(  second: .*)}", r"\1, placement: {disk: ssd}}", far.config)
    assert "placement: {disk: ssd}}" in far.config
    far.write(900)
    process = start_far(far, nodes)
    wait_for_lines(far, 100, process)
    nodes.cut(2)
    wait_for_lines(far, 450, process)
    nodes.heal(2)
    said = finish_far(far, process, 900)
    assert re.search("steps? of agents placed there run again", said)


@needs_nodes
def test_only_nodes_with_the_label_work(far: RayProject, nodes: RayNodes):
    far.write(60)
    log = far.folder / "progress"
    with log.open("w") as file:
        command = [*nodes.inside(1), *far.command("--address", nodes.address, "--progress", "json")]
        environ = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        more = ["--set", "engine.nodes.labels={disk: ssd}"]
        done = subprocess.run(
            [*command, *more], cwd=far.folder, stderr=file, env=environ, timeout=180, check=False, text=True
        )
    assert done.returncode == 0, log.read_text()
    last = [json.loads(line) for line in log.read_text().splitlines() if '"last":true' in line][-1]
    assert last["nodes"].keys() <= {nodes.host(2), nodes.host(3)}
    assert sum(node["done"] for node in last["nodes"].values()) == 60


@needs_nodes
def test_a_cluster_that_is_not_there(far: RayProject, nodes: RayNodes):
    far.write(3)
    process = subprocess.run(
        [*nodes.inside(1), *far.command("--address", nodes.host(77) + ":6379")],
        cwd=far.folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert process.returncode == 2
    assert nodes.host(77) + ":6379" in process.stderr
    assert "Traceback" not in process.stderr


def test_ray_not_installed(project: RayProject):
    project.write(1)
    (project.folder / "ray.py").write_text("raise ImportError('no ray here')\n")
    code, said = project.run(PYTHONPATH=str(project.folder))
    assert code == 2, said
    assert "pip install 'agentbatch[ray]'" in said
    assert sys.executable
