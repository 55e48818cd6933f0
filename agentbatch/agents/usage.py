"""What a program or a server says it used, in its own JSON: tokens, and what they cost."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agentbatch.calls.output_form import pick, read_output
from agentbatch.messages import Usage
from agentbatch.settings import Settings
from agentbatch.step import Visit


class UsagePaths(Settings):
    """Where in its JSON a program or a server says what it used, as dotted paths. What is not there counts as 0."""

    input_tokens: list[str] | str = Field(default_factory=list[str])
    """Several paths are added up: some count cached tokens apart."""
    output_tokens: list[str] | str = Field(default_factory=list[str])
    cost_usd: str | None = None
    """US dollars. Without it, or where it leads nowhere, the cost of a run that used tokens is unknown."""


def count_usage(paths: UsagePaths, text: str, visit: Visit) -> None:
    """Enter what `text` says was used in the books of a visit, and of what its item may cost."""
    usage, cost = read_usage(paths, text)
    if (purse := visit.of_item.purse) is not None:
        purse.spent += cost or 0.0
    visit.count(usage, cost if cost is not None or usage.output_tokens else 0.0)
    visit.span.attributes["input_tokens"] = usage.input_tokens
    visit.span.attributes["output_tokens"] = usage.output_tokens


def cost_of(paths: UsagePaths | None, text: str) -> float:
    """US dollars that a JSON text tells; 0 where it tells nothing, or nobody knows where to look."""
    return 0.0 if paths is None else read_usage(paths, text)[1] or 0.0


def read_usage(paths: UsagePaths, text: str) -> tuple[Usage, float | None]:
    """Tokens and cost that a JSON text tells; zero and unknown where it tells nothing."""
    try:
        said = read_output("json", text)
    except ValueError:
        try:
            said = read_output("jsonl", text)
        except ValueError:
            return Usage(), None
    cost = None if paths.cost_usd is None else _number(said, paths.cost_usd)
    return Usage(_sum(said, paths.input_tokens), _sum(said, paths.output_tokens)), cost


def _sum(value: Any, paths: list[str] | str) -> int:
    return int(sum(_number(value, path) or 0 for path in ([paths] if isinstance(paths, str) else paths)))


def _number(value: Any, path: str) -> float | None:
    try:
        found = pick(value, path)
    except ValueError:
        return None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0 else None
