"""How long a run takes, and which limit it will wait for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agentbatch.forecast.bounds import Account, Bounds, Range
from agentbatch.models.base import ModelConfig
from agentbatch.models.mock_latency import LogNormalLatency, NormalLatency, UniformLatency
from agentbatch.record import record

if TYPE_CHECKING:
    from agentbatch.config import Config

_MINUTE = 60.0
_DAY_S = 86_400.0
"""Within which OpenAI and Anthropic promise a batch's answers."""
_AUTO_REQUESTS = 64
"""What `max_concurrency: auto` is reckoned with."""


@record
class Constraint:
    """A limit, in words, and the seconds that the run takes at least because of it."""

    name: str
    seconds: Range


def latency_of(model: ModelConfig, assumed_s: float) -> float:
    """Seconds that a request to the model takes on average: what a mock is told, else what is assumed."""
    match getattr(model, "latency", None):
        case float() | int() as seconds:
            return float(seconds)
        case LogNormalLatency(p50=p50, p95=p95):
            return p50 * math.exp((math.log(p95 / p50) / 1.645) ** 2 / 2)
        case UniformLatency(min=least, max=most):
            return (least + most) / 2
        case NormalLatency(mean=mean):
            return mean
        case _:
            return assumed_s


def constraints(config: Config, spent: Mapping[Account, Bounds], items: int, item_s: Range) -> list[Constraint]:
    """Every limit that the run may wait for, the slowest first. `spent` is what all its items take."""
    found = [Constraint("the length of one item", item_s if items else Range())]
    if config.limits.max_concurrency is not None:
        rounds = math.ceil(items / config.limits.max_concurrency)
        name = f"items in flight (max_concurrency {config.limits.max_concurrency:,})"
        found.append(Constraint(name, Range(rounds * item_s.low, rounds * item_s.high)))
    for (kind, name), bounds in spent.items():
        section = {"model": config.models, "agent": config.agents, "group": config.groups}.get(kind, {}).get(name)
        if section is not None:
            found += _of_section(f"{kind} {name}", section, bounds)
    return sorted(found, key=lambda each: -sum(each.seconds))


def _of_section(owner: str, section: object, spent: Bounds) -> Iterator[Constraint]:
    low, high = spent
    batched = getattr(section, "provider_batch", None)
    if batched and high.calls:
        most = getattr(batched, "max_wait", None) or _DAY_S
        yield Constraint(f"provider batches of {owner}, a minute to a day each", Range(min(_MINUTE, most), most))
        return
    limits = {name: getattr(section, name, None) for name in ("rpm", "tpm", "max_concurrency")}
    rpm, tpm, at_once = limits["rpm"], limits["tpm"], limits["max_concurrency"]
    if rpm is not None:
        seconds = Range(low.calls / rpm * _MINUTE, high.calls / rpm * _MINUTE)
        yield Constraint(f"requests per minute of {owner} (rpm {rpm:,})", seconds)
    if tpm is not None:
        seconds = Range(low.tokens / tpm * _MINUTE, high.tokens / tpm * _MINUTE)
        yield Constraint(f"tokens per minute of {owner} (tpm {tpm:,})", seconds)
    if at_once is not None:
        limit = _AUTO_REQUESTS if at_once == "auto" else at_once
        shown = f"auto, taken for {limit}" if at_once == "auto" else f"{limit:,}"
        yield Constraint(f"concurrency of {owner} ({shown})", Range(low.busy_s / limit, high.busy_s / limit))
