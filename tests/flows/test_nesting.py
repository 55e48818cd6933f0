"""What nesting costs: each level as much as the last."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from workflow import config_of, run

from agentbatch.config import Config
from agentbatch.errors import ConfigError

OPTIONS = {
    "retries": 1,
    "timeout": "9s",
    "max_concurrency": 1,
    "fallback": ["b"],
    "when": "true",
    "on_error": "continue",
}


def nested(folder: Path, depth: int, kind: str) -> Config:
    """One agent under so many groups, each around the last."""
    groups: dict[str, Any] = {}
    inner = "a"
    for level in range(depth):
        around: dict[str, dict[str, Any]] = {
            "sequence": {"sequence": [inner, "b"]},
            "parallel": {"parallel": [inner, "b"]},
            "loop": {"loop": [inner], "max_iterations": 1},
            "graph": {"graph": [inner, "b"], "max_concurrency": 1},
            "then": {"when": "true", "then": inner},
            "route": {"route": "'x'", "cases": {"x": inner}},
            "all": {**OPTIONS, "loop": [inner], "max_iterations": 1, "for_each": "[1]"},
        }
        inner = f"g{level}"
        groups[inner] = around[kind]
    models = {"now": {"provider": "mock", "reply": "x"}}
    agents = {"a": {"model": "now"}, "b": {"model": "now"}}
    return config_of(folder, agents, models=models, groups=groups, workflow=[inner, "b"])


def calls_of(config: Config, items: int) -> int:
    """Python functions called in a run."""
    count = 0

    def see(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        trial = run(config, *[{}] * items)
    finally:
        sys.setprofile(before)
    assert all(line["status"] == "ok" for line in trial.lines)
    return count


def per_item(folder: Path, depth: int, kind: str) -> float:
    config = nested(folder, depth, kind)
    return (calls_of(config, 6) - calls_of(config, 1)) / 5


@pytest.mark.parametrize("kind", ["sequence", "parallel", "loop", "graph", "then", "route"])
def test_twice_as_deep_costs_at_most_twice_as_much(tmp_path: Path, kind: str) -> None:
    shallow, middle, deep = (per_item(tmp_path, depth, kind) for depth in (4, 12, 20))
    assert deep - middle <= 1.5 * (middle - shallow)


def test_as_many_levels_as_may_be_are_no_trouble(tmp_path: Path) -> None:
    for kind in ("sequence", "parallel", "graph", "all"):
        trial = run(nested(tmp_path, 29, kind), {})
        assert trial.line["status"] == "ok"


def test_more_is_refused_before_it_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested more than 30 levels deep"):
        nested(tmp_path, 30, "sequence")
