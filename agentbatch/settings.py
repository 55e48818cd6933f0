"""Shapes that the configs of all kinds share: the strict base, durations, sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentbatch.record import record

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Settings(BaseModel):
    """Base of every config section: unknown keys and wrong types are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def parse_duration(value: Any) -> float:
    """Seconds from `500ms`, `30s`, `10m`, `1h30m`, or a plain number of seconds.

    Raises:
        ValueError: it is neither, or not more than zero.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip()
        parts = _DURATION.findall(text)
        if not parts or _DURATION.sub("", text).strip():
            raise ValueError("expected a duration such as 500ms, 30s, 10m, or seconds as a number")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        raise ValueError("expected a duration such as 500ms, 30s, 10m, or seconds as a number")
    if not 0 < seconds < 10 * 365 * 86400:
        raise ValueError("a duration must be more than zero, and less than ten years")
    return seconds


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "examples": ["30s"]}]}),
]
"""Seconds; written as `500ms`, `30s`, `10m` or a number."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PositiveInt = Annotated[int, Field(ge=1)]


@runtime_checkable
class Grounded(Protocol):
    """A section that only the machine it runs on can judge: a function must be there, a sandbox must work."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it here, as key and message. `folder` is the config's."""
        ...


@record
class Meaning:
    """What a text of the config is, beyond being text: the loader checks it, and loads `file://` templates."""

    of: Literal["template", "condition", "model", "step", "earlier", "tool"]


TemplateText = Annotated[str, Meaning("template")]
"""A Jinja2 template, or `file://` and a path relative to the config."""
TemplateValue = Annotated[Any, Meaning("template")]
"""A value in which every text is a template; one that is a bare `{{ expression }}` keeps its value's type."""
ConditionText = Annotated[str, Meaning("condition")]
"""A bare Jinja2 expression, such as `critic.output.score >= 0.8`."""
ModelName = Annotated[str, Meaning("model")]
"""A name under `models`."""
EarlierStep = Annotated[str, Meaning("earlier")]
"""The name of an agent or a group that this step only looks at or waits for."""
StepName = Annotated[str, Meaning("step")]
"""The name of an agent or a group that this one is made of, or leads to."""
ToolName = Annotated[str, Meaning("tool")]
"""A name under `tools`, `toolsets` or `mcp_servers`, or an agent or a group that does the tool's work."""
