"""What a cluster is made of, and which agents of a config may run where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentbatch.engines.ray.cluster import Cluster, Node, WorkerGone, WorkerUnfit, WorkerUnheard
from agentbatch.engines.ray.placements import described, fitting_nodes, placements, start_one, tasks
from agentbatch.engines.ray.versions import skew
from agentbatch.errors import ConfigError

if TYPE_CHECKING:
    from agentbatch.config import Config

_PROBE_S = 20.0


@dataclass(frozen=True, slots=True)
class SurveyedNode:
    """One node.

    Attributes:
        python, agentbatch: the versions there; empty where they could not be asked for.
        items: whether items of the config run there.
        agents: the names of the agents with a placement that may run there.
        problem: why it can't work as it is; empty where it can.
    """

    node: Node
    python: str
    agentbatch: str
    items: bool
    agents: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class Survey:
    """A cluster, as the driver sees it: `ray` is its version, `problems` what keeps the config from running on it."""

    ray: str
    nodes: tuple[SurveyedNode, ...]
    problems: tuple[str, ...]


async def survey(config: Config | None, address: str) -> Survey:
    """Ask every node of the cluster for its versions.

    Raises:
        ConfigError: Ray is not installed, or the cluster can't be joined.
    """
    cluster = Cluster()
    await cluster.join(address)
    try:
        nodes = sorted(await cluster.nodes(), key=lambda node: (not node.is_head, node.address))
        probes = await asyncio.gather(*(_probe(cluster, node) for node in nodes))
        return _survey(config, cluster.version, nodes, probes)
    finally:
        await cluster.close()


@dataclass(frozen=True, slots=True)
class _Probe:
    python: str = ""
    agentbatch: str = ""
    problem: str = ""


async def _probe(cluster: Cluster, node: Node) -> _Probe:
    """A process on the node says what runs there."""
    worker = await cluster.apart(lambda: cluster.start_worker(node, {}))
    try:
        told: dict[str, str] = await worker.call("versions", timeout=_PROBE_S)
    except WorkerUnfit as error:
        return _Probe(problem=str(error))
    except (WorkerGone, WorkerUnheard) as error:
        return _Probe(problem=f"no process starts there: {error}")
    finally:
        cluster.kill(worker)
    return _Probe(told["python"], told["agentbatch"], skew(told["agentbatch"]))


def _survey(config: Config | None, ray: str, nodes: Sequence[Node], probes: Sequence[_Probe]) -> Survey:
    placed = {} if config is None else {**placements(config), **tasks(config)}
    problems = [
        f"agents.{name}.placement: no node has {place.words}: {described(nodes)}. {start_one(place)}"
        for name, place in placed.items()
        if not any(place.room_on(node.labels, node.resources) for node in nodes)
    ]
    at_work: set[str] = set()
    try:
        at_work = set() if config is None else {node.id for node in fitting_nodes(nodes, config.engine.nodes)}
    except ConfigError as error:
        problems.append(str(error))
    surveyed = [
        SurveyedNode(
            node,
            probe.python,
            probe.agentbatch,
            node.id in at_work,
            tuple(name for name, place in placed.items() if place.room_on(node.labels, node.resources)),
            probe.problem,
        )
        for node, probe in zip(nodes, probes, strict=True)
    ]
    return Survey(ray, tuple(surveyed), tuple(problems))
