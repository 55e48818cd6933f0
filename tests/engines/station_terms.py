"""What a worker is told when it begins, for tests that need one without a cluster."""

from __future__ import annotations

from pathlib import Path

from agentbatch.engines.ray.parcels import Assignment


def assignment(folder: Path) -> Assignment:
    return Assignment(
        worker="w1",
        node="here",
        config=str(folder / "config.yaml"),
        overrides=(),
        variables={},
        of_node=(),
        to_environment=(),
        window=4,
        include=frozenset(),
        traces=False,
        follow=False,
        log_level=40,
        journal=False,
        cache=("off", None),
        artifacts=None,
        grace_s=30.0,
        share=(0, 1),
    )
