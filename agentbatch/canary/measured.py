"""What one item of a canary took, read off its result line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agentbatch.forecast.bounds import EVERYTHING, Account, Spend
from agentbatch.record import record

if TYPE_CHECKING:
    from agentbatch.config import Config


@record
class Measured:
    """One item.

    Attributes:
        failed: it has neither succeeded nor been left out by a condition.
        cost_usd: US dollars; None where a price, or what it used, is not known.
        seconds: of work, from beginning to end.
        spent: what it took, as far as its line tells, by account: all, and of each agent and model.
    """

    failed: bool
    cost_usd: float | None
    seconds: float
    spent: Mapping[Account, Spend]


def measured(line: Mapping[str, Any], config: Config) -> Measured:
    """Of a result line, whichever of its optional parts it has."""
    whole = _spend(line)
    spent: dict[Account, Spend] = {EVERYTHING: whole}
    agents = cast("dict[str, dict[str, Any]]", line.get("agents") or {})
    if not agents and len(config.models) == 1:
        spent[("model", next(iter(config.models)))] = whole
    for path, step in agents.items():
        name = path.rpartition("/")[2].partition("[")[0].partition("#")[0]
        if "kind" in step or name not in config.agents:  # a group's figures are those of its members
            continue
        own = _without(_spend(step), [_spend(each) for each in _called_by(path, agents)])
        _add(spent, ("agent", name), own)
        model = step.get("model") or getattr(config.agents[name], "model", None)
        if model in config.models:
            _add(spent, ("model", model), own)
    failed = line["status"] not in ("ok", "skipped")
    return Measured(failed, line.get("cost_usd"), float(line.get("duration_s") or 0.0), spent)


def _called_by(path: str, agents: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The agents that this one has called as tools: what they took counts as its own, too."""
    below = f"{path}/"
    return [step for name, step in agents.items() if name.startswith(below) and "/" not in name[len(below) :]]


def _spend(step: Mapping[str, Any]) -> Spend:
    usage = cast("dict[str, int]", step.get("usage") or {})
    tokens = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return Spend(usage.get("requests", 0), *tokens, step.get("cost_usd") or 0.0, float(step.get("duration_s") or 0.0))


def _without(whole: Spend, parts: list[Spend]) -> Spend:
    for part in parts:
        whole = whole.map(part, lambda a, b: max(0.0, a - b))
    return whole


def _add(spent: dict[Account, Spend], account: Account, more: Spend) -> None:
    spent[account] = spent.get(account, Spend()).map(more, lambda a, b: a + b)
