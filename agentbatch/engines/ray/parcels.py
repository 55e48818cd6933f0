"""What travels between the driver of a run and its workers: plain data, pickled once, in chunks."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbatch.engines.ray.errands.parcels import AskRow, ErrandRow, NewsRow
from agentbatch.items import Failure, Item, Status
from agentbatch.kept.journal import Answers, CallRow
from agentbatch.placement import Placement
from agentbatch.progress.tally import TallyPart
from agentbatch.progress.view import Pressure
from agentbatch.results.finished import FinishedItem
from agentbatch.time_book import Bound, Waits
from agentbatch.trace import Span

FinishedRow = tuple[
    str | int, int, Status, Failure | None, int, bool, dict[str, Any], tuple[str, ...], bytes, bytes | None
]
"""A `FinishedItem`, field by field, and its line of the trace file: tuples pickle several times as fast."""

PieceRow = tuple[str, bytes | None]
"""A file among the artifacts, and more of what is in it; None empties a step's folder."""

SpanRow = tuple[str, Span]
"""`started`, `working` or `ended`, and the span, without its tree."""

LogRow = tuple[str, int, str, str | None, dict[str, Any]]
"""A logger's name, the level, the message, the traceback, and the item and trace that it is about."""


@dataclass(slots=True)
class Assignment:
    """All that a worker needs to build the same engine as any other.

    Attributes:
        worker: its name; node: what its machine is called, in messages.
        config: the config's path inside the package, with the overrides and the variables of the driver.
        of_node: names of variables that the node's own environment must have.
        to_environment: variables that user code finds in `os.environ`.
        window: items in flight at once; None for the engine's own choice.
        include: the optional parts of a result line.
        traces: whether trace lines are wanted; follow: whether every span is, for the events or the log.
        log_level: messages from this level on are wanted.
        journal: whether finished calls of unfinished items are kept.
        cache: `open_run_cache`'s choice, and its file; artifacts: the folder for files that agents
            leave behind, empty where they are sent to the driver, None for none.
        grace_s: a driver that was silent for half of it has given this worker up.
        share: its rank among so many workers, where limits are split; None where they are borrowed.
        ttl_s: how long a lease lasts. budget: US dollars left of the run's cap, None for no cap.
        driver_pid: the driver's process, where it is on the same machine.
        foreign_paths: folders of the driver in which no module is to be looked for.
        placement: of the agents that it runs, for other workers' items; None where it has items of its own.
        placed: the placements of all agents that have one.
        nodes: labels and resources of each node that there was when the worker was started.
    """

    worker: str
    node: str
    config: str
    overrides: tuple[str, ...]
    variables: dict[str, str]
    of_node: tuple[str, ...]
    to_environment: tuple[str, ...]
    window: int | None
    include: frozenset[str]
    traces: bool
    follow: bool
    log_level: int
    journal: bool
    cache: tuple[str, str | None]
    artifacts: str | None
    grace_s: float
    share: tuple[int, int] | None = None
    ttl_s: float = 4.0
    budget: float | None = None
    driver_pid: int | None = None
    foreign_paths: tuple[str, ...] = ()
    placement: Placement | None = None
    placed: dict[str, Placement] = field(default_factory=dict[str, Placement])
    nodes: tuple[tuple[Mapping[str, str], Mapping[str, float]], ...] = ()


@dataclass(slots=True)
class Hello:
    """A worker is ready: so many items it takes at once, and what a person should know."""

    window: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class Chunk:
    """Items to do, and what earlier lives of them paid for; errands to do or to drop, and news of one's own."""

    items: list[Item] = field(default_factory=list[Item])
    paid: dict[int, Answers] = field(default_factory=dict[int, Answers])
    errands: list[ErrandRow] = field(default_factory=list[ErrandRow])
    dropped: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    news: list[NewsRow] = field(default_factory=list[NewsRow])

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.items or self.errands or self.dropped or self.news)


@dataclass(slots=True)
class Batch:
    """What a worker has to say since its last batch. It is kept there until the driver acknowledges its number.

    Attributes:
        unfinished: items it will not finish, to be done elsewhere or later, with their trace lines.
        calls_through: the number of the last of `calls`, which are numbered from 1.
        part: what its tally has counted from its beginning.
        asked: steps that it wants done elsewhere; dropped: those of them that it wants no more.
        files: what agents left behind; all that tells of them comes later.
        news: of the steps that it does for others.
        waits: what its items wait for now.
        stopped: why the run has to end, as this worker sees it.
        fault: the type and the message of what broke it.
        over: it has ended, and this is its last batch; cut: why, where nobody told it to.
        unfinished_usd: of the last batch: what attempts may have cost whose items did not come to their end.
    """

    number: int
    finished: list[FinishedRow]
    unfinished: list[tuple[int, bytes | None]]
    calls: list[CallRow]
    calls_through: int
    spans: list[SpanRow]
    logs: list[LogRow]
    part: TallyPart | None = None
    pressure: Pressure | None = None
    asked: list[AskRow] = field(default_factory=list[AskRow])
    dropped: list[int] = field(default_factory=list[int])
    files: list[PieceRow] = field(default_factory=list[PieceRow])
    news: list[NewsRow] = field(default_factory=list[NewsRow])
    waits: Waits = field(default_factory=dict[Bound, float])
    stopped: str | None = None
    fault: tuple[str, str] | None = None
    over: bool = False
    cut: str | None = None
    unfinished_usd: float = 0.0


def packed(parcel: Assignment | Chunk | Batch | Hello) -> bytes:
    """Its bytes. Only between processes of one version and one user: unpacking runs what it is told to."""
    return pickle.dumps(parcel, protocol=5)


def unpacked(data: bytes) -> Any:
    """What `packed` packed."""
    return pickle.loads(data)


def finished_row(item: FinishedItem, trace: bytes | None) -> FinishedRow:
    """The fields of an item's end, in their order."""
    checks = dict(item.checks) if item.checks else {}
    return (
        item.id,
        item.index,
        item.status,
        item.error,
        item.attempts,
        item.truncated,
        checks,
        item.fared_well,
        item.line,
        trace,
    )
