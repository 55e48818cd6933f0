"""How the live table is laid out: which columns, rows and lines fit, and what stands in them.

Pure text and styles; of rich it knows only how wide a letter is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from agentbatch.progress.tally import AgentStats
from agentbatch.progress.view import NodePressure, View
from agentbatch.record import record
from agentbatch.text import figures
from agentbatch.text.redact import visible

Piece = tuple[str, str]
"""Text and its style: a rich style's name, empty for none."""

Line = tuple[Piece, ...]

_GAP: Final = 2
_MOST_ROWS: Final = 12
_NAME_WIDTHS: Final = (22, 36)
"""The most columns of a name, on a narrow and on a wide terminal: long names differ at their end."""

_WIDE: Final = 120
_FAILING_ROWS: Final = 3
"""Of agents that don't all fit, so many that fail most are always among those shown."""


@record
class Glyphs:
    """The characters of the bar and between facts."""

    full: str = "━"
    half: str = "╸"
    rest: str = "─"
    dot: str = " · "


ASCII_GLYPHS: Final = Glyphs("#", "", "-", " | ")


@record
class Row:
    """One line of the table: an agent, or the sum of those that did not fit."""

    agent: AgentStats
    calls_per_s: float


@record
class Column:
    """A column: `rank` says which go first where the terminal is narrow (the highest), `least` its smallest width."""

    title: str
    cell: Callable[[Row], str]
    rank: int
    least: int = 0
    style: Callable[[Row], str] = lambda row: ""


def _bad(number: int, style: str) -> str:
    return style if number else ""


_COLUMNS: Final = (
    Column("agent", lambda row: row.agent.name, 0, 8),
    Column("queued", lambda row: figures.short_count(row.agent.queued), 5),
    Column("running", lambda row: figures.short_count(row.agent.running), 3, style=lambda row: "bold"),
    Column("done", lambda row: figures.count(row.agent.done), 1, 6, lambda row: "green"),
    Column("failed", lambda row: figures.count(row.agent.failed), 2, 6, lambda row: _bad(row.agent.failed, "bold red")),
    Column(
        "retries", lambda row: figures.count(row.agent.retries), 7, 7, lambda row: _bad(row.agent.retries, "yellow")
    ),
    Column("calls/s", lambda row: figures.rate(row.calls_per_s), 9),
    Column("p50", lambda row: figures.seconds(row.agent.p50_s), 4, 6),
    Column("p95", lambda row: figures.seconds(row.agent.p95_s), 8, 6),
    Column("tokens in", lambda row: figures.short_count(row.agent.input_tokens), 10),
    Column("tokens out", lambda row: figures.short_count(row.agent.output_tokens), 11),
    Column("cost", lambda row: _cost(row.agent), 6, 7),
)


_UNKNOWN: Final = frozenset({"queued", "running"})
"""Columns of what has not ended, which only the run's own process knows."""


def _cost(agent: AgentStats) -> str:
    if not agent.calls:
        return "-"
    return figures.money(agent.cost_usd) if agent.cost_known else "?"


class Layout:
    """Lays out one picture after another. Columns and rows stay where they were: a table that jumps is unreadable."""

    def __init__(self, glyphs: Glyphs) -> None:
        self._glyphs = glyphs
        self._widths: dict[str, int] = {}
        self._shown: frozenset[str] = frozenset()
        self._hidden: frozenset[str] = frozenset()
        self._size = (0, 0)

    def lines(self, view: View, columns: int, rows: int) -> list[Line]:
        """The picture for a terminal of this size, at most `rows` - 1 lines of it, some perhaps too long."""
        if (columns, rows) != self._size:
            self._size, self._widths = (columns, rows), {}
        self._hidden = frozenset[str]() if view.pressure.known else _UNKNOWN
        facts = [_bar_line(view, columns - 1, self._glyphs), *_fact_lines(view, self._glyphs)]
        room = rows - 1 - len(facts)
        if columns < 30 or room < 2:
            return facts[: max(1, rows - 1)]
        return [*self._table(self._choose(view, min(_MOST_ROWS, room - 1)), columns - 1), *facts]

    def _choose(self, view: View, most: int) -> list[Row]:
        """All agents if they fit; else those that fail most and the busy ones, in the config's order, and a sum."""
        rows = [Row(*pair) for pair in zip(view.counts.agents, view.calls_per_s, strict=True)]
        if len(rows) <= most:
            return rows
        failing = sorted((row for row in rows if row.agent.failed), key=lambda row: -row.agent.failed)[:_FAILING_ROWS]
        ranked = sorted(
            rows,
            key=lambda row: (
                row not in failing,
                not _busy(row),
                row.agent.name not in self._shown,
                not row.calls_per_s,
            ),
        )
        self._shown = frozenset(row.agent.name for row in ranked[: most - 1])
        hidden = [row for row in rows if row.agent.name not in self._shown]
        return [*(row for row in rows if row.agent.name in self._shown), _sum(hidden)]

    def _table(self, rows: Sequence[Row], columns: int) -> Iterable[Line]:
        most = _NAME_WIDTHS[columns >= _WIDE - 1]
        cells = {column.title: [visible(column.cell(row), most) for row in rows] for column in _COLUMNS}
        for column in _COLUMNS:
            widest = max((cell_len(cell) for cell in cells[column.title]), default=0)
            before = self._widths.get(column.title, 0)
            self._widths[column.title] = max(before, min(widest, most), column.least, len(column.title))
        shown = self._fitting(columns)
        yield tuple((self._aligned(column, column.title), "dim") for column in shown)
        for at, row in enumerate(rows):
            yield tuple((self._aligned(column, cells[column.title][at]), column.style(row)) for column in shown)

    def _fitting(self, columns: int) -> list[Column]:
        shown = [column for column in _COLUMNS if column.title not in self._hidden]
        while len(shown) > 1 and sum(self._widths[one.title] + _GAP for one in shown) - _GAP > columns:
            shown.remove(max(shown, key=lambda one: one.rank))
        return shown

    def _aligned(self, column: Column, text: str) -> str:
        width = self._widths[column.title]
        return set_cell_size(text, width) if column is _COLUMNS[0] else " " * _GAP + text.rjust(width)


def _busy(row: Row) -> bool:
    return bool(row.agent.running or row.agent.queued)


def _sum(rows: Sequence[Row]) -> Row:
    agents = [row.agent for row in rows]
    return Row(
        AgentStats(
            name=f"and {len(rows)} more",
            queued=sum(agent.queued for agent in agents),
            running=sum(agent.running for agent in agents),
            done=sum(agent.done for agent in agents),
            failed=sum(agent.failed for agent in agents),
            skipped=sum(agent.skipped for agent in agents),
            calls=sum(agent.calls for agent in agents),
            retries=sum(agent.retries for agent in agents),
            input_tokens=sum(agent.input_tokens for agent in agents),
            output_tokens=sum(agent.output_tokens for agent in agents),
            cost_usd=sum(agent.cost_usd for agent in agents),
            cost_known=all(agent.cost_known for agent in agents),
        ),
        sum(row.calls_per_s for row in rows),
    )


def _bar_line(view: View, columns: int, glyphs: Glyphs) -> Line:
    """The bar takes what the figures leave; figures go, the last first, where that is too little."""
    figures_ = _bar_figures(view)
    least = 10 if view.share is not None else 0
    while len(figures_) > 1 and sum(len(text) + _GAP for text in figures_) + least > columns:
        figures_.pop()
    text = (" " * _GAP).join(figures_)
    room = min(60, columns - len(text) - _GAP)
    if view.share is None or room < 5:
        return ((text, "bold"),)
    return (*bar(view.share, room, glyphs), (" " * _GAP + text, "bold"))


def _bar_figures(view: View) -> list[str]:
    counts = view.counts
    ended = figures.count(counts.items_ended)
    if view.total is None:
        texts = [figures.counted(counts.items_ended, "item")]
    else:
        texts = [f"{ended}/{figures.count(view.total)}", f"{int((view.share or 0) * 100)}%"]
    texts.append(f"{figures.rate(view.items_per_s)} items/s")
    if view.eta_s is not None:
        texts.append(f"{figures.span_of_time(view.eta_s)} left")
    texts.append(f"{figures.span_of_time(counts.elapsed_s)} elapsed")
    return texts


def bar(share: float, columns: int, glyphs: Glyphs) -> Line:
    """A bar of exactly so many columns."""
    halves = int(share * columns * 2)
    full = glyphs.full * (halves // 2) + (glyphs.half if halves % 2 else "")
    return ((full, "green"), (glyphs.rest * (columns - len(full)), "dim"))


def _fact_lines(view: View, glyphs: Glyphs) -> Iterable[Line]:
    if facts := glyphs.dot.join(_facts(view)):
        yield ((facts, ""),)
    if view.pressure.held_by:
        yield (("held back by ", "dim"), (visible(view.pressure.held_by, 120), "yellow"))
    for node in view.pressure.nodes[:_MOST_ROWS]:
        yield _node_line(node)
    if view.counts.errors:
        yield _error_line(view)
    if view.counts.refusals:
        yield _refusal_line(view)


def _node_line(node: NodePressure) -> Line:
    workers = figures.counted(node.workers, "worker")
    facts = f"{workers}, {figures.count(node.in_flight)} in flight, {figures.count(node.done)} done"
    lost = f", {node.lost} lost" if node.lost else ""
    return (("node ", "dim"), (visible(node.name, 40), ""), (f"  {facts}", "dim"), (lost, "bold red"))


def _facts(view: View) -> Iterable[str]:
    pressure, counts = view.pressure, view.counts
    if pressure.known:
        yield f"in flight: {_of(pressure.items_in_flight, pressure.items_limit)} items"
    if pressure.requests_in_flight or pressure.requests_limit:
        yield f"{_of(pressure.requests_in_flight, pressure.requests_limit)} requests"
    if counts.total("calls"):
        yield _money(view)
    if cached := counts.total("cached"):
        yield f"{figures.count(cached)} from cache"
    if view.before:
        yield f"{figures.count(view.before)} done before"


def _of(number: int, limit: int | None) -> str:
    return figures.count(number) if limit is None else f"{figures.count(number)} of {figures.count(limit)}"


def _money(view: View) -> str:
    """Spent so far, and about how much it will be, as soon as a fiftieth of the way can tell."""
    counts = view.counts
    if not counts.cost_known:
        return f"{figures.money(counts.cost_usd)} + ?" if counts.cost_usd else "cost unknown"
    if not view.share or not 0.02 <= view.share < 1 or not counts.cost_usd:
        return figures.money(counts.cost_usd)
    return f"{figures.money(counts.cost_usd)}, about {figures.money(counts.cost_usd / view.share)} at the end"


def _error_line(view: View) -> Line:
    groups = view.counts.errors
    first = groups[0]
    agent = f" {visible(first.agent, 30)}" if first.agent else ""
    return (
        ("failed ", "bold red"),
        (_tally((group.count, group.type) for group in groups), "red"),
        (f"  e.g. item {visible(first.item_id, 30)}{agent}: {visible(first.message, 200)}", "dim"),
    )


def _refusal_line(view: View) -> Line:
    refusals = view.counts.refusals
    first = refusals[0]
    return (
        ("failed attempts ", "yellow"),
        (_tally((one.count, one.type) for one in refusals), "yellow"),
        (f"  e.g. {visible(first.agent, 30)}: {visible(first.message, 200)}", "dim"),
    )


def _tally(groups: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{figures.count(count)} {visible(type_, 30)}" for count, type_ in list(groups)[:3])
