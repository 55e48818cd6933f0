"""Which step of an item took longest: what to look at in one that was slow."""

from __future__ import annotations

from collections.abc import Iterable

from agentbatch.record import record
from agentbatch.trace import Span


@record
class LongestStep:
    """An agent or a tool, and the seconds it worked by itself, all its turns together."""

    name: str
    seconds: float


def longest_step(spans: Iterable[Span]) -> LongestStep | None:
    """The agent or tool that worked longest, without the tools and agents that it called; None where nothing did."""
    steps = {span.span_id: span for span in spans if span.kind in ("agent", "tool")}
    own = {span_id: _worked(span) for span_id, span in steps.items()}
    for span in steps.values():
        if span.parent_id in own:
            own[span.parent_id] -= _worked(span)
    seconds: dict[str, float] = {}
    for span_id, span in steps.items():
        seconds[span.name] = seconds.get(span.name, 0.0) + max(0.0, own[span_id])
    if not seconds:
        return None
    name = max(seconds, key=seconds.__getitem__)
    return LongestStep(name, seconds[name])


def _worked(span: Span) -> float:
    return max(0.0, span.duration_s - (span.attributes.get("queued_s") or 0.0))
