"""Traces as text: one item's tree with bars to scale, lists of one line each. Nothing in it can steer a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from agentbatch.record import record
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.screen import Screen
from agentbatch.traces.entries import TraceEntry
from agentbatch.traces.index import ErrorKind
from agentbatch.traces.longest import LongestStep
from agentbatch.traces.lookup import Found
from agentbatch.traces.tree import Node

_WIDEST_LABEL: Final = 40
_BAR: Final = (10, 40)
"""The narrowest and the widest bar."""
_STYLES: Final = {"ok": "", "skipped": "dim", "stopped": "yellow"}
_MOST_NOTE: Final = 2000


@record
class _Glyphs:
    tee: str
    corner: str
    pipe: str
    work: str
    queue: str
    rest: str


_UNICODE: Final = _Glyphs("├─ ", "└─ ", "│  ", "█", "░", " ")
_ASCII: Final = _Glyphs("|- ", "`- ", "|  ", "#", ".", " ")


@record
class _Row:
    """One node's line: its branches of the tree, and those of the lines below it that belong to it."""

    node: Node
    lead: str
    under: str


def render_head(found: Found, screen: Screen) -> str:
    """Which trace it is, and that of the item's other stays."""
    if found.entry is None:
        return screen.paint("this item has no trace; its result line says:", "dim") + "\n"
    entry = found.entry
    began = (
        f", began {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.start_ns / 1e9))}" if entry.start_ns else ""
    )
    lines = [f"trace {visible(entry.trace_id, 32)}{began}"]
    if found.others:
        others = ", ".join(f"{visible(one.trace_id, 32)} ({visible(one.status, 12)})" for one in found.others[-5:])
        more = f"{len(found.others) - 5:,} more, " if len(found.others) > 5 else ""
        lines.append(f"the item's other traces: {more}{others}")
    return "".join(screen.paint(line, "dim") + "\n" for line in lines)


def render_tree(root: Node, screen: Screen) -> str:
    """One item's tree, a line per node; what does not fit a line stands below it. Ends in a newline."""
    glyphs = _UNICODE if screen.unicode else _ASCII
    rows = list(_rows(root, "", "", glyphs))
    labels = [_label(row, screen) for row in rows]
    width = max(cell_len(label) for label in labels)
    titles, *cells = _aligned([_TITLES, *(_cells(row.node) for row in rows)])
    bar = _bar_width(root, screen, width + sum(2 + len(title) for title in titles))
    lines = [_head(root, titles, width, bar, screen)]
    for row, label, figures_ in zip(rows, labels, cells, strict=True):
        drawn = f"  {_bar(row.node, root, bar, glyphs, screen)}" if bar else ""
        front = f"{set_cell_size(label, width)}{drawn}  {'  '.join(figures_)}"
        lines += _with_notes(row, front, width + (2 + bar if bar else 0) + sum(2 + len(one) for one in titles), screen)
    return "".join(line + "\n" for line in lines)


def _rows(node: Node, lead: str, under: str, glyphs: _Glyphs) -> Iterator[_Row]:
    yield _Row(node, lead, under + (glyphs.pipe if node.children else "   "))
    for child in node.children:
        last = child is node.children[-1]
        branch, below = (glyphs.corner, "   ") if last else (glyphs.tee, glyphs.pipe)
        yield from _rows(child, under + branch, under + below, glyphs)


def _label(row: _Row, screen: Screen) -> str:
    kind = row.node.kind if row.node.kind not in ("item", "") else ""
    text = f"{row.lead}{visible(row.node.label, _WIDEST_LABEL)}" + (f"  {visible(kind, 20)}" if kind else "")
    return screen.showable(text)


_TITLES: Final = ("worked", "queued", "in", "out", "cost", "status")


def _cells(node: Node) -> tuple[str, ...]:
    asked = bool(node.requests)
    return (
        figures.seconds(node.duration_s) if node.status != "skipped" else "-",
        figures.seconds(node.queued_s) if node.queued_s >= 0.001 else "-",
        figures.short_count(node.input_tokens) if asked else "-",
        figures.short_count(node.output_tokens) if asked else "-",
        figures.money(node.cost_usd) if asked else "-",
        visible(node.status, 12),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Figures to the right, the last column (words) to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return [
        [
            cell.ljust(width) if at == last else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def _bar_width(root: Node, screen: Screen, taken: int) -> int:
    """What is left of the line; 0 where it is too little, or where nobody knows when things were."""
    room = min(_BAR[1], screen.columns - 1 - taken - 2)
    return room if root.stay is not None and room >= _BAR[0] else 0


def _head(root: Node, titles: Sequence[str], width: int, bar: int, screen: Screen) -> str:
    scale = ""
    if bar and root.stay is not None:
        end = figures.seconds(root.stay[1])
        scale = f"  0{end.rjust(bar - 1)}"
    return screen.paint(f"{' ' * width}{scale}  {'  '.join(titles)}".rstrip(), "dim")


def _bar(node: Node, root: Node, width: int, glyphs: _Glyphs, screen: Screen) -> str:
    """The node's stay on the item's time: its work and its queues apart."""
    if node.stay is None or root.stay is None:
        return " " * width
    start, end = root.stay
    scale = width / (end - start) if end > start else 0.0
    cells = [glyphs.rest] * width
    _fill(cells, node.stay, start, scale, glyphs.queue if node.status != "skipped" else glyphs.rest)
    for interval in node.work:
        _fill(cells, interval, start, scale, glyphs.work)
    return screen.paint("".join(cells), _bar_style(node))


def _fill(cells: list[str], interval: tuple[float, float], zero: float, scale: float, glyph: str) -> None:
    """Whatever took any time at all shows in one cell at least."""
    first = min(len(cells) - 1, max(0, int((interval[0] - zero) * scale)))
    last = min(len(cells), max(first + 1, round((interval[1] - zero) * scale)))
    cells[first:last] = glyph * (last - first)


def _bar_style(node: Node) -> str:
    return "green" if node.status == "ok" else _STYLES.get(node.status, "red")


def _with_notes(row: _Row, front: str, at: int, screen: Screen) -> Iterator[str]:
    """The line, with its notes where they fit, else each on a line of its own below it."""
    notes = [screen.showable(visible(note, _MOST_NOTE)) for note in row.node.notes]
    style = _STYLES.get(row.node.status, "red")
    beside = "; ".join(notes)
    if not notes:
        yield front.rstrip()
    elif at + 2 + cell_len(beside) < screen.columns:
        yield f"{front}  {screen.paint(beside, style)}"
    else:
        yield front.rstrip()
        for note in notes:
            yield f"{screen.showable(row.under)}  {screen.paint(note, style)}"


def render_list(
    entries: Iterable[TraceEntry], screen: Screen, longest: Callable[[TraceEntry], LongestStep | None] | None = None
) -> Iterator[str]:
    """A line for each, under a head; nothing where there are none. Columns are as wide as the first thousand need.

    With `longest` there is a column for what took longest of each.
    """
    head = _LIST_TITLES if longest is None else _with_longest(_LIST_TITLES, "longest step")
    rows: list[tuple[str, ...]] = [head]
    styles = ["dim"]
    widths: list[int] = []
    for entry in entries:
        cells = _list_cells(entry, screen)
        rows.append(cells if longest is None else _with_longest(cells, _step(longest(entry), screen)))
        styles.append(_STYLES.get(entry.status, "red"))
        if len(rows) == 1000:
            widths = _widths(rows, widths)
            yield from _list_lines(rows, styles, widths, screen)
            rows, styles = [], []
    if rows != [head]:
        yield from _list_lines(rows, styles, _widths(rows, widths), screen)


_LIST_TITLES: Final = ("started", "item", "status", "worked", "queued", "cost", "trace", "error")
_TO_THE_RIGHT: Final = frozenset({3, 4, 5})
_BEFORE_TRACE: Final = 6
_SHORT_TRACE: Final = 8
"""Digits of a trace id where lines are cut: enough to name it by, and the error is seen, too."""


def _list_cells(entry: TraceEntry, screen: Screen) -> tuple[str, ...]:
    return (
        _clock(entry.start_ns),
        screen.showable(visible(entry.item_id, _WIDEST_LABEL)),
        visible(entry.status, 12),
        figures.seconds(entry.duration_s),
        figures.seconds(entry.queued_s) if entry.queued_s >= 0.001 else "-",
        figures.money(entry.cost_usd),
        visible(entry.trace_id, 32)[: _SHORT_TRACE if screen.cuts else None],
        screen.showable(_error(entry)),
    )


def _error(entry: TraceEntry) -> str:
    if entry.error_type is None:
        return ""
    agent = f", {visible(entry.agent, _WIDEST_LABEL)}" if entry.agent else ""
    return f"{visible(entry.error_type, 40)}{agent}: {visible(entry.error_message or '', 300)}"


def _with_longest(cells: tuple[str, ...], cell: str) -> tuple[str, ...]:
    return (*cells[:_BEFORE_TRACE], cell, *cells[_BEFORE_TRACE:])


def _step(step: LongestStep | None, screen: Screen) -> str:
    return (
        "" if step is None else screen.showable(f"{visible(step.name, _WIDEST_LABEL)} {figures.seconds(step.seconds)}")
    )


def _clock(start_ns: int) -> str:
    """The local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(start_ns / 1e9)) if start_ns else "-"


def _widths(rows: Sequence[Sequence[str]], known: Sequence[int]) -> list[int]:
    columns = list(zip(*rows, strict=True)) or [()] * len(known)
    widest = [max((cell_len(cell) for cell in column), default=0) for column in columns]
    return [max(pair) for pair in zip(widest, known or widest, strict=True)]


def _list_lines(
    rows: Sequence[Sequence[str]], styles: Sequence[str], widths: Sequence[int], screen: Screen
) -> Iterator[str]:
    for row, style in zip(rows, styles, strict=True):
        cells = [
            " " * (width - cell_len(cell)) + cell if at in _TO_THE_RIGHT else set_cell_size(cell, width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        if screen.cuts and cell_len(line) >= screen.columns:
            line = set_cell_size(line, max(1, screen.columns - 1)).rstrip()
        yield screen.paint(line, style) + "\n"


def render_errors(kinds: Sequence[ErrorKind], screen: Screen) -> Iterator[str]:
    """The error types, by the agent that failed, with their counts, and the first item of each as the example."""
    width = max((len(figures.count(kind.count)) for kind in kinds), default=0)
    for kind in kinds:
        example = kind.example
        agent = f"  {screen.showable(visible(kind.agent, _WIDEST_LABEL))}" if kind.agent else ""
        yield f"{figures.count(kind.count):>{width}}  {screen.paint(visible(kind.type, 40), 'red')}{agent}\n"
        where = f"item {visible(example.item_id, _WIDEST_LABEL)}, trace {visible(example.trace_id, 32)}"
        yield screen.showable(f"{'':>{width}}  {where}: {visible(example.error_message or '', 300)}\n")
