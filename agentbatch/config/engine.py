"""`engine:` in a config: where the items are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agentbatch.settings import Duration, PositiveInt, Settings

Patience = Annotated[Duration, Field(ge=1)]
"""Seconds, at least one: a process that is only slow for a moment must not be taken for dead."""


class NodesConfig(Settings):
    """Which nodes of a cluster may work."""

    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Only nodes that were started with all these labels (`ray start --labels`)."""
    max: PositiveInt | None = None
    """So many nodes at most."""
    exclude_head: bool = False
    """Leave out the head node."""


class LimiterConfig(Settings):
    """How limits are kept over several workers."""

    mode: Literal["lease", "static"] = "lease"
    """`lease`: workers borrow from one limiter by their need. `static`: each has the same fixed share; no `max_cost`
    is kept so."""
    ttl: Patience = 4.0
    """A worker that is given up, and was not heard for so long, loses what it borrowed; one that can't reach the
    limiter for half of it cuts its own calls. At least 1s."""


class EngineConfig(Settings):
    """Where items run: in this process, or on the nodes of a Ray cluster."""

    kind: Literal["local", "ray"] = "local"
    """`ray` needs the extra `agentbatch[ray]`."""
    address: str | None = None
    """A cluster to join: `auto`, or HOST:PORT of its head. Default: a private Ray here, ended with the run."""
    workers: PositiveInt | None = None
    """Worker processes. Default: one per core of this machine, or one per node of the cluster."""
    nodes: NodesConfig = NodesConfig()
    """Which nodes of a cluster may work."""
    per_node_concurrency: PositiveInt | None = None
    """Items in flight at once on each worker. Default: as many as the models can serve."""
    chunk_max: PositiveInt = 64
    """Items sent to a worker at once, at most."""
    node_grace: Patience = 10.0
    """A worker that was silent for so long is given up: what it had in flight runs elsewhere. At least 1s."""
    placement_timeout: Duration = 30.0
    """How long to wait for a node on which a worker may start."""
    limiter: LimiterConfig = LimiterConfig()
    """How limits are kept over all workers."""
    working_dir: str | None = None
    """A folder, relative to the config, that workers get whole. Default: the config's Python modules and prompts."""
    excludes: list[str] = Field(default_factory=list[str])
    """Patterns of files that workers don't get, such as `data/*`."""
    secrets: dict[str, Literal["node_env", "from_driver"]] = Field(
        default_factory=dict[str, Literal["node_env", "from_driver"]]
    )
    """Environment variables by name: taken from each node's own environment, or sent by the driver. Those that the
    config names are sent unless it says otherwise here. User code finds all of them in `os.environ`."""
