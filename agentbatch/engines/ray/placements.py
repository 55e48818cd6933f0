"""Which agents of a run have a placement, and what to say where no node fits one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from agentbatch.agents.base import AgentConfig
from agentbatch.agents.function import FunctionConfig
from agentbatch.config.step_graph import StepTexts, judges, root_members
from agentbatch.engines.ray.cluster import Node
from agentbatch.errors import ConfigError
from agentbatch.placement import ONE_CORE, Placement
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.config.engine import NodesConfig

_RAYS_OWN = ("node:", "object_store_memory", "memory", "accelerator_type:")


def placements(config: Config) -> dict[str, Placement]:
    """Of the agents in use, by name. A function that runs as a task of Ray's is placed by Ray itself."""
    used = _used(config)
    return {
        name: agent.placed
        for name, agent in config.agents.items()
        if name in used and agent.placed is not None and not _is_task(agent)
    }


def tasks(config: Config) -> dict[str, Placement]:
    """Where the functions in use run that are tasks of Ray's, by the names of their agents."""
    private = config.engine.address is None
    used = _used(config)
    return {
        name: ONE_CORE if private or agent.placed is None else agent.placed
        for name, agent in config.agents.items()
        if name in used and _is_task(agent)
    }


def _used(config: Config) -> set[str]:
    """The names of the steps that the workflow and its checks come to."""
    texts = StepTexts(config)
    return {name for member in (*root_members(config), *judges(config)) for name in texts.inside(member)}


def _is_task(agent: AgentConfig) -> bool:
    return isinstance(agent, FunctionConfig) and agent.executor == "ray"


def fitting_nodes(nodes: Sequence[Node], choice: NodesConfig) -> list[Node]:
    """The nodes on which items may run, in an order that stays.

    Raises:
        ConfigError: there is none.
    """
    fitting = [node for node in nodes if node.cores >= 1 and _has_labels(node, choice.labels)]
    fitting = [node for node in fitting if not (choice.exclude_head and node.is_head)]
    if not fitting:
        asked = ", ".join(f"{name}={value}" for name, value in choice.labels.items())
        labels = sorted({label for node in nodes for label in labels_of(node)})
        raise ConfigError(
            f"engine.nodes: none of {counted(len(nodes), 'node')} fits"
            + (f": it asks for the labels {asked}, and there are {', '.join(labels) or 'none'}" if asked else "")
            + (": exclude_head leaves out the only one" if choice.exclude_head and not asked else "")
        )
    return sorted(fitting, key=lambda node: (node.is_head, node.address, node.id))[: choice.max]


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


def start_one(placement: Placement) -> str:
    """How a node comes to fit."""
    labels = ",".join(f"{name}={value}" for name, value in placement.labels)
    options = [f"--labels {labels}"] if labels else []
    own = {"CPU": "--num-cpus", "GPU": "--num-gpus"}
    custom = [f'"{name}": {n:g}' for name, n in placement.resources if name not in own]
    options += [f"{own[name]} {n:g}" for name, n in placement.resources if name in own]
    options += [f"--resources '{{{', '.join(custom)}}}'"] if custom else []
    return f"Start one with `ray start --address=HEAD:PORT {' '.join(options)}`"


def _has_labels(node: Node, asked: Mapping[str, str]) -> bool:
    return all(node.labels.get(name) == value for name, value in asked.items())
