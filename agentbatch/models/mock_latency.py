"""How long a mock answer takes: a constant, or a distribution drawn from the request's own content."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self, cast

from pydantic import BeforeValidator, Discriminator, Tag, WithJsonSchema, model_validator

from agentbatch.models.mock_draws import fraction, gauss
from agentbatch.settings import Duration, Settings, parse_duration

_Z95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


def _pause(value: Any) -> float:
    if not isinstance(value, bool) and value in (0, "0", "0s", "0ms"):
        return 0.0
    if isinstance(value, Mapping):
        raise ValueError("expected a duration, or one of {p50:, p95:}, {min:, max:} and {mean:, sigma:}")
    if isinstance(value, int | float) and value < 0:
        raise ValueError("expected a duration of zero or more")
    return parse_duration(value)


Pause = Annotated[
    float,
    BeforeValidator(_pause),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "examples": ["200ms"]}]}),
]
"""Seconds, written as a duration; 0 is allowed."""


class LogNormalLatency(Settings):
    """Log-normal, as answer times of real endpoints are: half take less than `p50`, one in twenty more than `p95`."""

    p50: Duration
    p95: Duration

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.p95 < self.p50:
            raise ValueError("p95 must not be less than p50")
        return self

    def seconds(self, key: bytes) -> float:
        """The time of the request with this key."""
        return self.p50 * math.exp(gauss(key, b"latency") * math.log(self.p95 / self.p50) / _Z95)


class UniformLatency(Settings):
    """Any time between `min` and `max` is as likely as any other."""

    min: Pause
    max: Pause

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max < self.min:
            raise ValueError("max must not be less than min")
        return self

    def seconds(self, key: bytes) -> float:
        """The time of the request with this key."""
        return self.min + (self.max - self.min) * fraction(key, b"latency")


class NormalLatency(Settings):
    """Normal around `mean` with the standard deviation `sigma`; below zero is zero."""

    mean: Pause
    sigma: Pause

    def seconds(self, key: bytes) -> float:
        """The time of the request with this key."""
        return max(0.0, self.mean + self.sigma * gauss(key, b"latency"))


def _fields(value: Any) -> Mapping[str, Any]:
    return type(value).model_fields if isinstance(value, Settings) else {}


def _shape(value: Any) -> str:
    names = cast(Mapping[str, Any], value) if isinstance(value, Mapping) else _fields(value)
    if "p50" in names or "p95" in names:
        return "log-normal"
    if "min" in names or "max" in names:
        return "uniform"
    return "normal" if "mean" in names or "sigma" in names else "constant"


Latency = Annotated[
    Annotated[Pause, Tag("constant")]
    | Annotated[LogNormalLatency, Tag("log-normal")]
    | Annotated[UniformLatency, Tag("uniform")]
    | Annotated[NormalLatency, Tag("normal")],
    Discriminator(_shape),
]
"""`200ms`, `{p50: 200ms, p95: 1s}`, `{min: 100ms, max: 300ms}` or `{mean: 200ms, sigma: 50ms}`."""
