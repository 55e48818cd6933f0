"""`--engine ray`: the same results, traces, resume and exit codes as in one process."""

import json
import signal
import time
from pathlib import Path

import pytest
from engines_ray_project import CONFIG, RayProject

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> RayProject:
    return RayProject(tmp_path)


def test_a_private_ray_gives_the_same_results_as_one_process(project: RayProject):
    project.write(120)
    code, said = project.run("--workers", "2")
    assert code == 0, said
    far = project.results()
    code, said = project.run("--engine", "local", "--overwrite")
    assert code == 0, said
    near = project.results()
    assert [line["index"] for line in far] == list(range(120))
    for line, other in zip(far, near, strict=True):
        assert {"id": line["id"], "output": line["output"], "usage": line["usage"]} == {
            "id": other["id"],
            "output": other["output"],
            "usage": other["usage"],
        }
        assert line["agents"].keys() == other["agents"].keys()


def test_traces_the_summary_and_nothing_left_to_do(project: RayProject):
    project.write(30)
    code, said = project.run("--workers", "2", "--summary", "sum.json")
    assert code == 0, said
    traces = (project.folder / "in.results.traces.jsonl").read_bytes().splitlines()
    ids = {json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][-1]["traceId"] for line in traces}
    assert ids == {line["trace_id"] for line in project.results()}
    summary = json.loads((project.folder / "sum.json").read_text())
    assert summary["counts"]["ok"] == 30
    assert summary["calls"] == 60
    before = (project.folder / "in.results.jsonl").read_bytes()
    code, said = project.run("--engine", "local")
    assert code == 0, said
    assert (project.folder / "in.results.jsonl").read_bytes() == before


def test_failed_items_and_the_exit_code(project: RayProject):
    project.config = CONFIG.replace("latency: 50ms", "latency: 5ms, errors: {bad_request: 0.3}")
    project.write(60)
    code, said = project.run("--workers", "2")
    assert code == 1, said
    lines = project.results()
    assert len(lines) == 60
    assert {line["error"]["type"] for line in lines if line["status"] == "error"} == {"bad_request"}
    assert "bad_request" in said


def wait_for_lines(project: RayProject, lines: int) -> None:
    give_up = time.monotonic() + 120
    while project.lines() < lines:
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_an_interrupted_run_goes_on(project: RayProject):
    project.config = CONFIG.replace("max_concurrency: 40", "max_concurrency: 8")
    project.write(600)
    process = project.start("--workers", "2")
    wait_for_lines(project, 30)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert 30 <= len(project.results()) < 600
    code, said = project.run("--engine", "local", "--set", "models.m.latency=1ms")
    assert code == 0, said
    assert [line["index"] for line in project.results()] == list(range(600))


def test_a_config_that_no_worker_can_build_says_so_once(project: RayProject):
    project.write(3)
    code, said = project.run("--workers", "1", "--set", "engine.nodes.labels={disk: ssd}")
    assert code == 2
    assert "disk=ssd" in said
    assert "Traceback" not in said
