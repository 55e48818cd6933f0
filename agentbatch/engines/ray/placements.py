"""Which agents of a run have a placement, and what to say where no node fits one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agentbatch.agents.function import FunctionConfig
from agentbatch.config.step_graph import StepTexts, judges, root_members
from agentbatch.engines.ray.cluster import Node
from agentbatch.placement import Placement

if TYPE_CHECKING:
    from agentbatch.config import Config

_RAYS_OWN = ("node:", "object_store_memory", "memory", "accelerator_type:")


def placements(config: Config) -> dict[str, Placement]:
    """Of the agents in use, by name. A function that runs as a task of Ray's is placed by Ray itself."""
    texts = StepTexts(config)
    used = {name for member in (*root_members(config), *judges(config)) for name in texts.inside(member)}
    found: dict[str, Placement] = {}
    for name, agent in config.agents.items():
        is_task = isinstance(agent, FunctionConfig) and agent.executor == "ray"
        if name in used and agent.placement is not None and not is_task:
            placement = Placement.of(agent.placement)
            if placement.labels or placement.resources:
                found[name] = placement
    return found


def described(nodes: Sequence[Node]) -> str:
    """What each node has that a placement may ask for."""
    return "; ".join(f"{node.name} has {', '.join(_has(node)) or 'nothing'}" for node in nodes) or "there is no node"


def labels_of(node: Node) -> list[str]:
    """The labels that a person gave it."""
    return [f"{name}={value}" for name, value in sorted(node.labels.items()) if not name.startswith("ray.io/")]


def resources_of(node: Node) -> list[str]:
    """Its cores, GPUs and custom resources."""
    return [f"{name}: {n:g}" for name, n in sorted(node.resources.items()) if not name.startswith(_RAYS_OWN)]


def agents_of(placement: Placement, placed: Iterable[tuple[str, Placement]]) -> str:
    """The names of those with this placement."""
    return ", ".join(name for name, each in placed if each == placement)


def _has(node: Node) -> list[str]:
    return [*labels_of(node), *resources_of(node)]
