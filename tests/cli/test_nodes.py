"""`agentbatch nodes`: what a cluster has, and who may run where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import CLUSTER, labelled_cluster

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")

CONFIG = """\
version: 1
models: {m: {provider: openai, model: x, api_key: "${A_KEY}"}}
agents:
  near: {model: m, prompt: hi}
  far: {model: m, prompt: hi, placement: {disk: ssd, resources: {box: 1}}}
  nowhere: {kind: function, function: "os.path:basename", arguments: {p: x}, executor: ray, placement: {disk: tape}}
workflow: [near, far, nowhere]
"""


def nodes(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentbatch", "nodes", *arguments],
        cwd=folder,
        env={**os.environ, **CLUSTER},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_cluster(tmp_path: Path):
    ended = nodes(tmp_path, "--address", "127.0.0.1:1")
    assert ended.returncode == 2
    assert "127.0.0.1:1 can't be reached" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.slow
def test_each_node_and_what_does_not_fit(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    with labelled_cluster() as address:
        table = nodes(tmp_path, "--address", address)
        told = nodes(tmp_path, "c.yaml", "--address", address, "--json")
    assert table.returncode == 0, table.stderr
    assert "2 nodes" in table.stdout
    assert "disk=ssd" in table.stdout
    assert "runs" not in table.stdout
    assert told.returncode == 1, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    assert [(node["head"], node["agents"]) for node in found["nodes"]] == [(True, []), (False, ["far"])]
    assert {node["python"] for node in found["nodes"]} == {".".join(map(str, sys.version_info[:3]))}
    assert [node["items"] for node in found["nodes"]] == [True, True]
    (problem,) = found["problems"]
    assert problem.startswith("agents.nowhere.placement: no node has disk=tape: ")
