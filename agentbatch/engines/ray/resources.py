"""Resources as Ray wants them asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
"""Those that have an option of their own (https://docs.ray.io/en/latest/ray-core/scheduling/resources.html)."""


def asked_of_ray(resources: Mapping[str, float]) -> dict[str, Any]:
    """The options of an actor or a task that has these to itself, and nothing else."""
    options: dict[str, Any] = {"num_cpus": 0, **{_OPTIONS[key]: n for key, n in resources.items() if key in _OPTIONS}}
    return {**options, "resources": {key: n for key, n in resources.items() if key not in _OPTIONS}}
