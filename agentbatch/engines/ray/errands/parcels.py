"""What travels for an errand: a step of an item that runs on another worker. Plain data, pickled at its two ends."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any, Literal

from agentbatch.errors import InternalFault, StepError
from agentbatch.items import Item, Output, Result, Scope
from agentbatch.kept.journal import Answers, CallRow
from agentbatch.messages import Usage
from agentbatch.placement import Placement
from agentbatch.trace import Span

Word = Literal["working", "resting", "ended"]

AskRow = tuple[int, Placement, int, bytes]
"""A worker wants a step done elsewhere: its number for it, where, the item's index, and the packed `Errand`."""

ErrandRow = tuple[str, int, int, bytes, Answers]
"""For whom the step is, that one's number for it, the item's index, the packed `Errand`, and what of it is paid."""

NewsRow = tuple[str, int, Word, bytes | None]
"""For whom and which; when it has ended, its packed `ErrandEnd`."""

ErrorParts = tuple[type[StepError], tuple[Any, ...], dict[str, Any]]
"""A step's error, taken apart: its class, what it was made with, and what it knows."""


@dataclass(slots=True)
class Errand:
    """One agent's step for one item, with all that its place in the workflow tells it.

    Attributes:
        label, path, prefix, seed, paths, calls: of the visit, which goes on there.
        trace_id, span_id: of the agent's span.
        purse: what the item may cost and what it has cost so far, in US dollars; None where that is not limited.
    """

    item: Item
    agent: str
    scope: Scope
    label: str
    path: str
    prefix: str
    seed: str
    paths: set[str]
    calls: int
    trace_id: str
    span_id: str
    purse: tuple[float, float] | None = None


@dataclass(slots=True)
class ErrandEnd:
    """How a step ended elsewhere, and the books of it.

    Attributes:
        stopped: why the run has to stop, or stops.
        spent_usd: what it took from what the item may cost.
        possibly_billed_usd: what its attempts may have cost that are in no cost.
        worked_s: seconds in which something of it was at work.
        kept: its finished calls since the last one that is on disk.
    """

    output: Output | None = None
    error: ErrorParts | None = None
    stopped: str | None = None
    usage: Usage = Usage()
    cost_usd: float | None = 0.0
    spent_usd: float = 0.0
    possibly_billed_usd: float = 0.0
    calls: int = 0
    worked_s: float = 0.0
    steps: dict[str, Result] = field(default_factory=dict[str, Result])
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    sets: dict[str, Any] = field(default_factory=dict[str, Any])
    paths: set[str] = field(default_factory=set[str])
    spans: list[Span] = field(default_factory=list[Span])
    kept: list[CallRow] = field(default_factory=list[CallRow])


def taken_apart(error: StepError) -> ErrorParts:
    """An error in a form that every subclass can travel in, whatever its constructor wants."""
    return type(error), error.args, dict(error.__dict__)


def put_together(parts: ErrorParts) -> StepError:
    """The error again."""
    kind, arguments, known = parts
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(known)
    return error


def packed_end(end: ErrandEnd) -> bytes:
    """Its bytes; where a user's value can't travel, those of a failure that says so."""
    try:
        return pickle.dumps(end, protocol=5)
    except Exception as error:  # whatever a foreign value raises when it is pickled
        fault = InternalFault(f"the step's result can't travel between workers: {type(error).__name__}: {error}")
        told = ErrandEnd(
            error=taken_apart(fault),
            usage=end.usage,
            cost_usd=end.cost_usd,
            spent_usd=end.spent_usd,
            possibly_billed_usd=end.possibly_billed_usd,
            worked_s=end.worked_s,
        )
        return pickle.dumps(told, protocol=5)
