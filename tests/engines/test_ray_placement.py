"""Agents with a placement on a cluster of two nodes, of which only one has what they ask for."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.provider import Provider, good, running
from engines_ray_project import RayProject
from ray_cluster import CLUSTER, labelled_cluster

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 100ms, max_concurrency: 20, price: {input: 1, output: 1}}}
agents:
  first: {model: m, prompt: "Hello {{ input.n }}"}
  second: {model: m, prompt: "More of {{ first.output }}", placement: {disk: ssd, resources: {box: 1}}}
  third: {kind: function, function: "mine:where", placement: {disk: ssd}}
workflow: [first, second, third]
engine: {node_grace: 6s}
"""
MODULE = """\
import os

def where(second):
    try:
        import ray
        labels = ray.get_runtime_context().get_node_labels()
    except Exception:
        labels = {}
    return {"disk": labels.get("disk"), "pid": os.getpid(), "second": second}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with labelled_cluster() as address:
        yield address


@pytest.fixture
def project(tmp_path: Path) -> RayProject:
    (tmp_path / "mine.py").write_text(MODULE)
    return RayProject(tmp_path, CONFIG)


def run(project: RayProject, cluster: str, *options: str) -> tuple[int, str]:
    return project.run("--address", cluster, *options, **CLUSTER)


def spans_of(path: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The spans of each trace, by name."""
    traces: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in path.read_bytes().splitlines():
        for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            traces.setdefault(span["traceId"], {}).setdefault(span["name"], []).append(span)
    return traces


def test_agents_run_where_they_are_placed_and_lines_traces_and_figures_are_whole(project: RayProject, cluster: str):
    task = """  task: {kind: function, function: "mine:where", executor: ray, placement: {disk: ssd}}\nworkflow"""
    project.config = CONFIG.replace("workflow", task).replace("third]", "task, third]")
    project.write(40)
    code, said = run(project, cluster, "--summary", "sum.json")
    assert code == 0, said
    far = project.results()
    assert {line["agents"]["task"]["output"]["disk"] for line in far} == {"ssd"}
    assert {line["output"]["disk"] for line in far} == {"ssd"}
    summary = json.loads((project.folder / "sum.json").read_text())
    assert summary["calls"] == 80
    calls = {name: agent["calls"] for name, agent in summary["agents"].items()}
    assert calls == {"first": 40, "second": 40, "third": 0, "task": 0}
    for trace in spans_of(project.folder / "in.results.traces.jsonl").values():
        (second,) = trace["invoke_agent second"]
        assert second["spanId"] in {span["parentSpanId"] for span in trace["chat mock"]}
    code, said = project.run("--engine", "local", "--overwrite")
    assert code == 0, said
    assert "placement: ignored" in said
    for line, other in zip(far, project.results(), strict=True):
        assert line["usage"] == other["usage"]
        assert line["cost_usd"] == pytest.approx(other["cost_usd"])
        assert line["output"]["second"] == other["output"]["second"]


def test_a_killed_workers_steps_are_done_by_the_one_that_follows_it(project: RayProject, cluster: str):
    project.write(300)
    process = project.start("--address", cluster, **CLUSTER)
    give_up = time.monotonic() + 120
    while project.lines() < 30:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.1)
    before = project.results()[0]["output"]["pid"]
    os.kill(before, signal.SIGKILL)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert "is lost" in said
    lines = project.results()
    assert [line["index"] for line in lines] == list(range(300))
    assert {line["status"] for line in lines} == {"ok"}
    assert len({line["output"]["pid"] for line in lines}) == 2


def test_no_node_fits(project: RayProject, cluster: str):
    project.write(3)
    placement = "agents.second.placement={disk: tape, resources: {GPU: 1}}"
    code, said = run(project, cluster, "--set", placement, "--set", "engine.placement_timeout=8s")
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if "placement" in line]
    assert "agents.second.placement: no node has disk=tape, GPU: 1, within 8 s (engine.placement_timeout)" in line
    assert "disk=ssd" in line
    assert "box: 1" in line
    assert "ray start --address=HEAD:PORT --labels disk=tape --num-gpus 1" in line
    assert "is lost" not in said
    assert "Traceback" not in said
    assert project.results() == []


def test_files_and_hooks_of_agents_on_either_node(project: RayProject, cluster: str):
    project.config = """\
version: 1
models: {m: {provider: mock, latency: 10ms, reply: "{{ prompt }}"}}
agents:
  near: {kind: command, command: [sh, -c, "echo near > near.txt; echo near"], artifacts: ["*.txt"]}
  far: {kind: command, command: [sh, -c, "head -c 1500000 /dev/zero > far.bin; echo far"], artifacts: ["*.bin"],
        placement: {disk: ssd}}
  ask: {model: m, prompt: "secret {{ far.output }}", placement: {disk: ssd}}
workflow: [near, far, ask]
hooks: {before_model: "guard:mask", on_result: "guard:stamp"}
"""
    (project.folder / "guard.py").write_text(
        "from dataclasses import replace\n\n"
        "def mask(call):\n"
        "    masked = (replace(each, content=each.content.replace('secret', '***')) for each in call.messages)\n"
        "    return replace(call, messages=tuple(masked))\n\n"
        "def stamp(end):\n"
        "    return replace(end, output=end.output + ' stamped')\n"
    )
    project.write(5)
    code, said = run(project, cluster)
    assert code == 0, said
    assert [line["output"] for line in project.results()] == ["*** far stamped"] * 5
    kept = project.folder / "in.results.artifacts"
    for line in project.results():
        assert line["agents"]["far"]["artifacts"] == ["far.bin"]
        assert (kept / line["id"] / "near" / "near.txt").read_text() == "near\n"
        assert (kept / line["id"] / "far" / "far.bin").stat().st_size == 1_500_000


PAID = """\
version: 1
models: {m: {provider: openai, model: test-model, base_url: URL, api_key: none, max_concurrency: 12}}
agents:
  near: {kind: function, function: "mine:pid"}
  first: {model: m, prompt: "first item={{ item.id }};"}
  second: {model: m, prompt: "second item={{ item.id }}; {{ first.output }}", placement: {disk: ssd}}
  third: {model: m, prompt: "third item={{ item.id }}; {{ second.output }}", placement: {disk: ssd}}
  far: {kind: function, function: "mine:pid", placement: {disk: ssd}}
workflow: [near, first, second, third, far]
engine: {node_grace: 6s}
"""
AT_ONCE = 12


def test_whichever_worker_is_killed_only_what_was_in_flight_is_asked_again(project: RayProject, cluster: str):
    (project.folder / "mine.py").write_text("import os\n\ndef pid():\n    return os.getpid()\n")
    with running(Provider(lambda asked: good(asked.id, delay=0.1))) as provider:
        project.config = PAID.replace("URL", provider.url)
        project.write(200)
        process = project.start("--address", cluster, "--workers", "2", **CLUSTER)
        for lines, agent in ((20, "far"), (80, "near")):
            give_up = time.monotonic() + 150
            while project.lines() < lines:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < give_up
                time.sleep(0.1)
            os.kill(project.results()[-1]["agents"][agent]["output"], signal.SIGKILL)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    lines = project.results()
    assert [line["index"] for line in lines] == list(range(200))
    assert {line["status"] for line in lines} == {"ok"}
    prompts = Counter(asked.prompt for asked in provider.requests)
    assert len(prompts) == 600
    # at each of two kills what was in flight, and answers of the last 0.1 s on which nothing was built yet
    assert sum(prompts.values()) - 600 <= 2 * 2 * AT_ONCE


def test_a_module_that_only_its_node_can_import(project: RayProject, cluster: str):
    there = "import ray\nif ray.get_runtime_context().get_node_labels().get('disk') != 'ssd':\n"
    (project.folder / "mine.py").write_text(f"{there}    raise ImportError('not on this machine')\n{MODULE}")
    task = """  task: {kind: function, function: "mine:where", executor: ray, placement: {disk: ssd}}\nworkflow"""
    tooled = """
  caller: {model: calls, prompt: hi, tools: [where], placement: {disk: ssd}}
tools: {where: {function: "mine:where"}}
workflow"""
    models = "models: {calls: {provider: mock, tool_calls: [{name: where, arguments: {second: called}}]}, m:"
    project.config = (
        CONFIG.replace("workflow", task)
        .replace("\nworkflow", tooled)
        .replace("third]", "caller, task, third]")
        .replace("models: {m:", models)
    )
    project.write(20)
    code, said = run(project, cluster)
    assert code == 0, said
    for line in project.results():
        assert line["agents"]["task"]["output"]["disk"] == "ssd"
        assert line["output"]["second"] == line["agents"]["second"]["output"]
    called = [trace["execute_tool where"] for trace in spans_of(project.folder / "in.results.traces.jsonl").values()]
    assert [span.get("status", {}).get("code", 0) for (span,) in called] == [1] * 20, "all were OK"
    (project.folder / "mine.py").write_text("import nobody_has_this\n" + MODULE)
    project.write(3)
    code, said = run(project, cluster, "--overwrite")
    assert code == 2, said
    assert "there is no module" in said or "importing mine failed" in said
    assert "Traceback" not in said
