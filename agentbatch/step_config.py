"""What agents and groups have in common: each is a step, and may be guarded, repeated, mapped, and made up for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agentbatch.settings import (
    ConditionText,
    Duration,
    EarlierStep,
    Name,
    PositiveInt,
    Settings,
    StepName,
    TemplateText,
)


class DefaultConfig(Settings):
    """A value in place of a failed step's output."""

    default: Any
    """What later steps see as its output."""


class FallbackConfig(Settings):
    """Who takes over, and when."""

    to: list[StepName]
    """Agents or groups, tried in order until one succeeds and is not itself to be replaced."""
    when: ConditionText | None = None
    """Also replace a good answer for which this holds, such as `output.confidence < 0.7`."""


class StepConfig(Settings):
    """One step of a workflow."""

    description: str = ""
    """For people, and for a supervisor that has this step as a tool."""
    when: ConditionText | None = None
    """Only run if this holds; otherwise the step is `skipped`, and its output empty."""
    needs: list[EarlierStep] = Field(default_factory=list[EarlierStep])
    """Steps of the same graph that must have ended before, beyond those its templates refer to."""
    timeout: Duration | None = None
    """How long the step may work on one item, retries included. Waiting for a permit does not count."""
    max_concurrency: PositiveInt | None = None
    """How much of this step runs at once, over all items."""
    retries: int = Field(default=0, ge=0, le=100)
    """How often to begin again after a bad answer, on top of the model's own retries."""
    for_each: ConditionText | None = None
    """A list, such as `{{ splitter.output.sections }}`: the step runs once for each element, as `each.value` (and
    `each.index`, from 0), several at once, and its output is the list of their outputs, in order."""
    fallback: list[StepName] | FallbackConfig = Field(default_factory=list[StepName])
    """Steps that take over when this one fails."""
    set: dict[Name, TemplateText] = Field(default_factory=dict[Name, TemplateText])
    """Values for later steps, as `vars.NAME`. The step's own output is `output`."""
    on_error: Literal["fail", "continue"] | DefaultConfig = "fail"
    """What its failure does to the flow it stands in: fail it, nothing, or nothing and give later steps a value."""
