"""`placement:` of an agent: on which machines of a cluster it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from agentbatch.record import record
from agentbatch.settings import Settings

Amount = Annotated[float, Field(gt=0)]


class PlacementConfig(Settings):
    """Which nodes an agent runs on: every key but `resources` is a label that the node was started with."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]  # pyright: ignore[reportIncompatibleVariableOverride]  # the documented way

    resources: dict[str, Amount] = Field(default_factory=dict[str, Amount])
    """What a process that runs the agent has to itself, by Ray's names: `{GPU: 1}`, `{CPU: 2}`, a custom one."""


@record
class Placement:
    """The same as plain data: agents with equal placements share processes."""

    labels: tuple[tuple[str, str], ...]
    resources: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, config: PlacementConfig) -> Placement:
        """What a config says."""
        return cls(tuple(sorted((config.model_extra or {}).items())), tuple(sorted(config.resources.items())))

    @property
    def words(self) -> str:
        """`disk=ssd, GPU: 1`."""
        labels = [f"{name}={value}" for name, value in self.labels]
        return ", ".join([*labels, *(f"{name}: {amount:g}" for name, amount in self.resources)])

    def room_on(self, labels: Mapping[str, str], resources: Mapping[str, float]) -> int:
        """How many processes with these resources a node with those labels has; 1 where none are asked for."""
        if any(labels.get(name) != value for name, value in self.labels):
            return 0
        parts = [int(resources.get(name, 0.0) / amount + 1e-9) for name, amount in self.resources]
        return min(parts, default=1)


def placement_of(section: Any) -> Placement | None:
    """What an agent's `placement` says before it was checked; None where it asks for nothing, or is wrong."""
    try:
        found = Placement.of(PlacementConfig.model_validate(section))
    except ValidationError:
        return None
    return found if found.labels or found.resources else None


ONE_CORE = Placement((), (("CPU", 1.0),))
"""What a function's call as a task of Ray's needs where its agent has no placement."""
