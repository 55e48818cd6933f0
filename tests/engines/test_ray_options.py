"""What `engine:` says of a cluster can be seen in a run on three nodes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines_ray_project import RayProject
from network import no_network
from ray_nodes import RayNodes

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(no_network() is not None, reason=str(no_network())),
]

NODE_KEY, DRIVER_KEY = "key-of-the-nodes-4711", "key-of-the-driver-0815"
CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 50ms, max_concurrency: 12}}
agents:
  ask: {model: m, prompt: "Hello {{ input.n }}"}
workflow: ask
"""
WITH_CODE = (
    CONFIG.replace("workflow: ask", '  look: {kind: function, function: "mine:look"}\nworkflow: [ask, look]')
    + """\
engine:
  working_dir: .
  excludes: [left_out/*]
  secrets: {NODE_KEY: node_env, DRIVER_KEY: from_driver}
"""
)
MODULE = """\
import os
from pathlib import Path

HERE = Path(__file__).parent

def look():
    return {
        "keys": [os.environ.get("NODE_KEY"), os.environ.get("DRIVER_KEY")],
        "right": [len(os.environ.get("NODE_KEY") or ""), len(os.environ.get("DRIVER_KEY") or "")],
        "files": sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.txt")),
        "here": str(HERE),
    }
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with RayNodes(3, labels={2: "disk=ssd"}, more={"NODE_KEY": NODE_KEY}) as nodes:
        yield nodes


def run(project: RayProject, nodes: RayNodes, *options: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [*nodes.inside(1), *project.command("--address", nodes.address, *options)],
        cwd=project.folder,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", **environ},
        stderr=subprocess.PIPE,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_which_nodes_work_and_on_how_many_items_at_once(tmp_path: Path, nodes: RayNodes):
    project = RayProject(tmp_path, CONFIG)
    project.write(60)
    engine = "engine={nodes: {exclude_head: true, max: 1}, per_node_concurrency: 3, chunk_max: 2}"
    code, said = run(project, nodes, "--set", engine, "--progress", "json")
    assert code == 0, said
    told: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert told[-1]["nodes"].keys() == {nodes.host(2)}
    assert told[-1]["nodes"][nodes.host(2)]["done"] == 60
    assert {each["in_flight"] for each in told} <= {None, 0, 1, 2, 3}


def test_limits_in_fixed_parts(tmp_path: Path, nodes: RayNodes):
    project = RayProject(tmp_path, CONFIG)
    project.write(60)
    code, said = run(project, nodes, "--set", "engine.limiter.mode=static")
    assert code == 0, said
    assert len(project.results()) == 60
    code, said = run(project, nodes, "--set", "engine.limiter.mode=static", "--set", "models.m.max_concurrency=2")
    assert code == 2, said
    assert "max_concurrency of model m is 2" in said
    assert "engine.limiter.mode: lease, or engine.workers: 2" in said


def test_files_and_keys_of_either_side(tmp_path: Path, nodes: RayNodes):
    (tmp_path / "mine.py").write_text(MODULE)
    for name in ("kept/a.txt", "left_out/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("something")
    (tmp_path / ".env").write_text(f"DRIVER_KEY={DRIVER_KEY}\n")
    project = RayProject(tmp_path, WITH_CODE)
    project.write(12)
    code, said = run(project, nodes)
    assert code == 0, said
    for line in project.results():
        assert line["output"]["files"] == ["kept/a.txt"]
        assert line["output"]["right"] == [len(NODE_KEY), len(DRIVER_KEY)]
        assert line["output"]["here"] != str(tmp_path)
    written = b"".join(path.read_bytes() for path in tmp_path.glob("in.results*"))
    assert NODE_KEY.encode() not in written
    assert DRIVER_KEY.encode() not in written


@pytest.mark.parametrize("whose", ["node_env", "from_driver"])
def test_a_key_that_nobody_has(tmp_path: Path, nodes: RayNodes, whose: str):
    project = RayProject(tmp_path, CONFIG)
    project.write(3)
    code, said = run(project, nodes, "--set", f"engine.secrets={{NOBODYS_KEY: {whose}}}")
    assert code == 2, said
    assert "NOBODYS_KEY" in said
    assert whose == "from_driver" or "set it before `ray start` there" in said
