"""The page's table of items: a compact row for each, and what is shown when one is opened."""

from __future__ import annotations

from array import array
from concurrent.futures import Future
from typing import Any

import orjson

from agentbatch.report.blocks import Blocks, Packer
from agentbatch.report.item_book import ItemBook
from agentbatch.report.result_lines import STATUSES, SUCCESSES, LineError, ResultLine, StepLine

MOST_ROWS = 100_000
"""Items in the table; of more, a sample."""

_MOST_FAILED = MOST_ROWS // 5
_EXCERPT = 140
_ROWS_A_BLOCK = 4096
_TEXTS_A_BLOCK = 128
_PAGE_CHARS = 48_000_000
_CHARS_AN_ITEM = (400, 40_000)
_CODES = {status: code for code, status in enumerate(STATUSES)}


class Sampling:
    """Which items are in the table: all of them, or beyond `MOST_ROWS` the failed ones first and every n-th other.

    Of a `total` of None none is: nobody wants to see a table.
    """

    def __init__(self, total: int | None) -> None:
        self.every = 0 if total is None else 1 if total <= MOST_ROWS else -(-total // (MOST_ROWS - _MOST_FAILED))
        self._failed = 0
        self._others = 0

    def takes(self, line: ResultLine) -> bool:
        """Whether this line gets a row."""
        if self.every <= 1:
            return self.every == 1
        if line.status not in SUCCESSES and self._failed < _MOST_FAILED:
            self._failed += 1
            return True
        self._others += 1
        return self._others % self.every == 1


class Rows:
    """Collects rows, packed as they fill. A row that a later line of its item supersedes stays, and is named `dead`."""

    def __init__(self, lines: int | None, packer: Packer) -> None:
        self.sampling = Sampling(lines)
        self.chars = max(_CHARS_AN_ITEM[0], min(_CHARS_AN_ITEM[1], _PAGE_CHARS // (lines or 1)))
        """How much text of one item is kept."""
        self.slots = array("I")
        self.texts = Blocks(_TEXTS_A_BLOCK, packer)
        self._packer = packer
        self._blocks: list[Future[bytes]] = []
        self._row_of_slot: dict[int, int] = {}
        self.row_of_trace: dict[bytes, int] = {}
        """The row whose timeline a trace is, by `trace_key`."""
        self._columns = _Columns()
        self._origin_ns: int | None = None

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def origin_s(self) -> float:
        """Unix time that the rows' starts are counted from."""
        return (self._origin_ns or 0) / 1e9

    def add(self, line: ResultLine, slot: int, book: ItemBook) -> None:
        """Give the line a row, if the sample takes it."""
        if slot not in self._row_of_slot and not self.sampling.takes(line):
            return
        row = len(self.slots)
        self.slots.append(slot)
        self._row_of_slot[slot] = row
        if line.trace_id:
            self.row_of_trace[trace_key(line.trace_id)] = row
        self._columns.add(line, self._offset_ms(line), book.error_number(slot))
        self.texts.add(item_texts(line, self.chars))
        if len(self._columns.ids) == _ROWS_A_BLOCK:
            self._close()

    def dead(self) -> list[int]:
        """Rows of lines that a later line superseded."""
        latest = self._row_of_slot
        return [row for row, slot in enumerate(self.slots) if latest[slot] != row]

    def finish(self) -> list[bytes]:
        """The packed blocks."""
        if self._columns.ids:
            self._close()
        return [packed.result() for packed in self._blocks]

    def _offset_ms(self, line: ResultLine) -> int | None:
        if line.started_ns is None:
            return None
        if self._origin_ns is None:
            self._origin_ns = line.started_ns
        return (line.started_ns - self._origin_ns) // 1_000_000

    def _close(self) -> None:
        self._blocks.append(self._packer.pack(self._columns.plain()))
        self._columns = _Columns()


def trace_key(trace_id: str) -> bytes:
    """An id in half the memory of the text, where it is an id as W3C writes it."""
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return trace_id.encode()


class _Columns:
    """One block of rows: a list per column, which compresses far better than a list per row."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._numbers: list[tuple[Any, ...]] = []
        self._excerpts: list[str] = []

    def add(self, line: ResultLine, start_ms: int | None, error: int) -> None:
        self.ids.append(line.id)
        self._numbers.append(
            (
                _CODES[line.status],
                start_ms,
                round(line.queued_s * 1e4),
                round(line.duration_s * 1e4),
                None if line.cost_usd is None else round(line.cost_usd, 7),
                line.input_tokens,
                line.output_tokens,
                line.requests,
                error,
                int(line.truncated),
            )
        )
        self._excerpts.append(excerpt(line))

    def plain(self) -> dict[str, Any]:
        names = ("status", "start", "queued", "work", "cost", "in", "out", "requests", "error", "cut")
        columns: dict[str, Any] = dict(zip(names, zip(*self._numbers, strict=True), strict=True))
        return {"id": self.ids, **columns, "excerpt": self._excerpts}


def excerpt(line: ResultLine) -> str:
    """What the table shows of an item: the beginning of its output, or why there is none."""
    if line.error is not None and line.status not in SUCCESSES:
        text = line.error.message
    elif line.output is None:
        return ""
    else:
        text = as_text(line.output, _EXCERPT * 4)[0]
    return " ".join(text[: _EXCERPT * 4].split())[:_EXCERPT]


def as_text(value: Any, limit: int) -> tuple[str, int, bool]:
    """A value as text of at most `limit` characters, how long it is in full, and whether it is JSON."""
    if isinstance(value, str):
        return value[:limit], len(value), False
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return text[:limit], len(text), True


def item_texts(line: ResultLine, chars: int) -> list[Any]:
    """What is shown of an opened item: `[line number, trace id, output, error, steps]`.

    The output comes first in what may be kept of the item's text; a step that gave the item's own output says so.
    """
    output, left = _kept(line.output, chars)
    steps: list[Any] = []
    for step in line.steps:
        encoded, left = _step(step, line.output, left)
        steps.append(encoded)
    return [line.number, line.trace_id, output, _error(line.error, chars), steps]


def _kept(value: Any, chars: int) -> tuple[list[Any] | None, int]:
    """`[text, full length if it is cut, 1 if it is JSON]`, and how many characters may still be kept."""
    if value is None:
        return None, chars
    text, length, is_json = as_text(value, chars)
    return [text, length if length > len(text) else 0, int(is_json)], chars - len(text)


def _step(step: StepLine, item_output: Any, chars: int) -> tuple[list[Any], int]:
    output: Any = None
    if step.output is not None:
        if step.output == item_output:
            output = 1
        else:
            output, chars = _kept(step.output, chars)
    encoded = [
        step.path,
        int(step.is_flow),
        step.status,
        round(step.queued_s * 1e4),
        round(step.duration_s * 1e4),
        step.attempts,
        step.input_tokens,
        step.output_tokens,
        step.cost_usd,
        output,
        _error(step.error, chars),
    ]
    return trimmed(encoded), chars


def _error(error: LineError | None, chars: int) -> list[Any] | None:
    if error is None:
        return None
    return trimmed([error.type, error.message[: max(400, min(chars, 4000))], error.agent, error.http_status])


def trimmed(values: list[Any]) -> list[Any]:
    """The list without the Nones at its end."""
    while values and values[-1] is None:
        values.pop()
    return values
