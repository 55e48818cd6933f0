"""Results and traces, read once from beginning to end, become the figures of a run and the rows of its table."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentbatch.checks.counts import CheckCount
from agentbatch.errors import InputError
from agentbatch.marks import Mark
from agentbatch.record import record
from agentbatch.report.activity import Activity, Course
from agentbatch.report.blocks import Packer
from agentbatch.report.breakdown import AgentBook, Share
from agentbatch.report.durations import Durations, Spread
from agentbatch.report.item_book import ErrorGroup, ItemBook
from agentbatch.report.kept_facts import kept_facts
from agentbatch.report.result_lines import ResultLine, ResultLines, count_lines
from agentbatch.report.rows import Rows
from agentbatch.report.trace_book import Refusals, TraceTerms
from agentbatch.report.trace_parts import Traces, read_parts
from agentbatch.time_book import BoundTime


@record
class RunFigures:
    """What a results file and its traces say of a run.

    Attributes:
        results, traces: the files; `traces` is None where there is none, or none is readable.
        counts: items by status in their last line.
        lines: result lines; `superseded` of them have a later one of the same id.
        bad_lines: numbers of lines that are no results.
        bad_traces: lines of the trace file that are no traces.
        traced: items that ended and have a trace.
        unfinished: items that were begun, and stopped before they had a result.
        input_tokens, output_tokens, requests: sums over all lines, the superseded ones included, for they were paid.
        cost_usd: the sum of what has a known price; None where nothing has.
        unpriced: lines whose cost is unknown.
        possibly_billed: failed attempts that the provider may have billed.
        truncated: items of which `max_tokens` cut an answer.
        work, queue: seconds per item, at work and not.
        book: every item's last word.
        bound_by: what the time went to, the largest share first; empty where nothing says it.
        checks: what the checks came to.
        marks: cool-downs and limits that changed.
    """

    results: Path
    traces: Path | None
    counts: Mapping[str, int]
    lines: int
    superseded: int
    bad_lines: Sequence[int]
    bad_traces: int
    traced: int
    unfinished: int
    input_tokens: int
    output_tokens: int
    requests: int
    cost_usd: float | None
    unpriced: int
    possibly_billed: int
    truncated: int
    work: Spread
    queue: Spread
    course: Course
    agents: Sequence[Share]
    models: Sequence[Share]
    errors: Sequence[ErrorGroup]
    refusals: Sequence[Refusals]
    book: ItemBook
    bound_by: Sequence[BoundTime] = ()
    checks: Sequence[CheckCount] = ()
    marks: Sequence[Mark] = ()

    @property
    def retries(self) -> int | None:
        """Attempts that came after a failed one; None where there are no traces to tell."""
        return None if self.traces is None else sum(model.retries or 0 for model in self.models)


@record
class ItemTable:
    """The rows of the page's table and what is shown of each when it is opened, in packed blocks.

    Attributes:
        total: items there are; fewer rows where they are a sample.
        every: of the items that did not fail, each n-th has a row.
        places: per row, its timeline's place from 1; 0 where it has none.
        dead: rows that a later line superseded.
        origin_s: Unix time that the rows' starts are counted from.
        chars: how much text of one item is kept.
    """

    total: int
    rows: int
    every: int
    row_blocks: Sequence[bytes]
    text_blocks: Sequence[bytes]
    timeline_blocks: Sequence[bytes]
    text_block_size: int
    timeline_block_size: int
    places: Sequence[int]
    dead: Sequence[int]
    origin_s: float
    chars: int


def read_run(results: Path, traces: Path | None, processes: int = 1) -> tuple[RunFigures, ItemTable]:
    """Read a run whole, by several `processes` where it is large. Memory: 100 bytes an item, and the packed rows.

    Raises:
        InputError: there are no results, or what is there is none.
    """
    with Packer() as packer:
        reading = _read(results, traces, Rows(count_lines(results), packer), packer, processes)
        return reading.figures(), reading.table()


def read_figures(results: Path, traces: Path | None, processes: int = 1) -> RunFigures:
    """Read a run for its figures only.

    Raises:
        InputError: there are no results, or what is there is none.
    """
    with Packer() as packer:
        return _read(results, traces, Rows(None, packer), packer, processes).figures()


def _read(results: Path, traces: Path | None, rows: Rows, packer: Packer, processes: int) -> _Reading:
    reading = _Reading(results, rows, packer)
    reading.read_results()
    if traces is not None:
        reading.read_traces(traces, processes)
    return reading


class _Reading:
    """The state of one reading."""

    def __init__(self, results: Path, rows: Rows, packer: Packer) -> None:
        self.lines = ResultLines(results)
        self.book = ItemBook()
        self.rows = rows
        self.activity = Activity()
        self.agents = AgentBook()
        self.work, self.queue = Durations(), Durations()
        self.read = self.unpriced = self.priced = self.truncated = 0
        self.input_tokens = self.output_tokens = self.requests = 0
        self.cost_usd = 0.0
        self.has_steps = self.has_usage = False
        self.checks: set[str] = set()
        self.traced = Traces(None, packer)
        self.traces: Path | None = None

    def read_results(self) -> None:
        """All result lines."""
        for line in self.lines:
            self._enter(line)

    def _enter(self, line: ResultLine) -> None:
        slot = self.book.enter(line)
        self.rows.add(line, slot, self.book)
        self.read += 1
        self.truncated += line.truncated
        if line.checks:
            self.checks |= line.checks
        self.work.add(line.duration_s)
        self.queue.add(line.queued_s)
        if line.started_ns is not None:
            ended_ns = line.started_ns + int((line.queued_s + line.duration_s) * 1e9)
            self.activity.took("items", line.started_ns, ended_ns)
        if line.steps:
            self.has_steps = True
            self.agents.add(line.steps)
        self._pay(line)

    def _pay(self, line: ResultLine) -> None:
        self.has_usage = self.has_usage or line.has_usage
        self.input_tokens += line.input_tokens
        self.output_tokens += line.output_tokens
        self.requests += line.requests
        if line.cost_usd is None:
            self.unpriced += 1
        else:
            self.priced += 1
            self.cost_usd += line.cost_usd

    def read_traces(self, path: Path, processes: int) -> None:
        """All traces, where the file is there; it belongs to a results file that has been read."""
        origin = self.activity.origin
        wanted = frozenset(self.rows.row_of_trace)
        try:
            parts = read_parts(path, TraceTerms(wanted, self.rows.chars, not self.has_steps, origin), processes)
        except OSError as error:
            raise InputError(f"{path}: can't be read: {error.strerror or error}") from error
        self.traced.include(parts)
        self.activity.include(self.traced.sums.activity)
        self.agents.include(self.traced.sums.agents)
        if self.traced.sums.trees:
            self.traces = path

    def figures(self) -> RunFigures:
        """The sums."""
        traced = self.traced.sums
        with_usage = self.has_usage or not traced.trees
        kept = kept_facts(self.lines.path, frozenset(self.checks))
        return RunFigures(
            results=self.lines.path,
            traces=self.traces,
            counts=self.book.counts(),
            lines=self.read,
            superseded=self.book.superseded,
            bad_lines=self.lines.bad,
            bad_traces=traced.bad,
            traced=traced.ended,
            unfinished=sum(self.book.slot_of(item_id) is None for item_id in traced.stopped),
            input_tokens=self.input_tokens if with_usage else traced.total("input_tokens"),
            output_tokens=self.output_tokens if with_usage else traced.total("output_tokens"),
            requests=self.requests if with_usage else traced.total("attempts"),
            cost_usd=self.cost_usd if self.priced or not self.read else None,
            unpriced=self.unpriced,
            possibly_billed=traced.possibly_billed,
            truncated=self.truncated,
            work=self.work.spread(),
            queue=self.queue.spread(),
            course=self.activity.course(),
            agents=[row.share(with_retries=self.traces is not None) for row in self.agents.rows.values()],
            models=[row.share() for row in traced.models.values()],
            errors=self.book.error_groups(),
            refusals=traced.refusals(),
            book=self.book,
            bound_by=kept.bound_by,
            checks=kept.checks,
            marks=kept.marks,
        )

    def table(self) -> ItemTable:
        """The rows, packed."""
        rows, timelines = self.rows, self.traced.timelines
        row_blocks = rows.finish()
        places = array("I", [0]) * len(rows)
        for key, place in self.traced.places.items():
            places[rows.row_of_trace[key]] = place + 1
        return ItemTable(
            total=len(self.book),
            rows=len(rows),
            every=rows.sampling.every,
            row_blocks=row_blocks,
            text_blocks=rows.texts.finish(),
            timeline_blocks=timelines.finish(),
            text_block_size=rows.texts.size,
            timeline_block_size=timelines.size,
            places=places,
            dead=rows.dead(),
            origin_s=rows.origin_s,
            chars=rows.chars,
        )
