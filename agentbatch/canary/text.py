"""A canary's findings for people, in lines of at most 80 columns, beside what was planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agentbatch.canary.estimate import CONFIDENCE, Estimate
from agentbatch.canary.findings import Canary
from agentbatch.forecast.bounds import Range
from agentbatch.plan.text import wrapped
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.table import aligned

_WORDS = 300


def render_canary(found: Canary) -> str:
    """The sample, the plan for the rest and what the sample makes of it; ends in a newline."""
    lines = [_sample(found)]
    if found.others:
        lines += ["", *_table(found), *_bound_by(found)]
        notes = [line for note in _notes(found) for line in note]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def _sample(found: Canary) -> str:
    failed = f", {figures.count(found.failed)} of them failed" if found.failed else ""
    spent = f"; {figures.money(found.spent_usd)} spent so far"
    return f"Canary: {figures.counted(found.items, 'item has', 'items have')} a result{failed}{spent}."


def _table(found: Canary) -> Iterator[str]:
    planned = found.planned
    others = f"the other {figures.count(found.others)}"
    rows = [
        (others, "planned", "after the canary", f"{CONFIDENCE:.0%} interval"),
        ("cost", _range(planned.cost_usd, figures.money), *_estimate(found.cost_usd, figures.money)),
        ("time", _range(planned.seconds, figures.span_of_time), *_estimate(found.seconds, figures.span_of_time)),
    ]
    return (f"  {line}".rstrip() for line in aligned(rows, left=(0, 1, 2, 3)))


def _bound_by(found: Canary) -> Iterator[str]:
    """The limit that the run waits for, before and after."""
    before, now = visible(found.planned.bound_by, _WORDS), visible(found.bound_by, _WORDS)
    if now:
        yield from wrapped("  bound by ", now if now == before or not before else f"{now}; planned: {before}")


def _notes(found: Canary) -> Iterator[list[str]]:
    if found.max_cost is not None and found.cost_usd is not None:
        whole = figures.money(found.spent_usd + found.cost_usd.expected)
        yield wrapped("  ", f"With what is spent that comes to {whole}; max_cost is ${found.max_cost:g}.")
    for reason in found.against:
        yield wrapped("  ", f"It does not fit: {visible(reason, _WORDS)}.")


def _range(span: Range | None, shown: Callable[[float], str]) -> str:
    return "unknown" if span is None else figures.from_to(span.low, span.high, shown)


def _estimate(found: Estimate | None, shown: Callable[[float], str]) -> tuple[str, str]:
    return ("unknown", "") if found is None else (shown(found.expected), figures.from_to(found.low, found.high, shown))
