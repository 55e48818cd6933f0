"""A trace file read in parts, each by a process of its own: of a large one, decoding the spans is most of the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from agentbatch.record import record
from agentbatch.report.blocks import Blocks, Packer
from agentbatch.report.trace_book import TIMELINES_A_BLOCK, TraceBook, TraceSums, TraceTerms
from agentbatch.traces.otlp import decode_trace

_READ_AHEAD: Final = 1 << 20
"""A trace is some kilobytes long: the usual 8 would be a read for each."""
_LEAST_PART: Final = 50_000_000
"""Bytes that take longer to read than another process takes to begin."""
_MOST_PARTS: Final = 3
"""More would take too much memory together."""


@record
class TracePart:
    """What one part of a trace file says.

    Attributes:
        keys: whose timelines these are, those in the full `blocks` first, then the `loose` ones.
    """

    sums: TraceSums
    keys: Sequence[bytes]
    blocks: Sequence[bytes]
    loose: Sequence[Any]


class Traces:
    """All parts of a file, put together again.

    Attributes:
        sums: what the traces come to.
        timelines: packed; `places` says whose stands where.
    """

    def __init__(self, origin: int | None, packer: Packer) -> None:
        self.sums = TraceSums(origin)
        self.timelines = Blocks(TIMELINES_A_BLOCK, packer)
        self.places: dict[bytes, int] = {}

    def include(self, parts: Sequence[TracePart]) -> None:
        """The parts, in the order of the file."""
        for part in parts:
            self.sums.include(part.sums)
            first = self.timelines.include(part.blocks)
            in_blocks = len(part.keys) - len(part.loose)
            self.places.update(zip(part.keys[:in_blocks], range(first, first + in_blocks), strict=True))
        for part in parts:
            for key, timeline in zip(part.keys[len(part.keys) - len(part.loose) :], part.loose, strict=True):
                self.places[key] = self.timelines.add(timeline)


def read_parts(path: Path, terms: TraceTerms, processes: int, least: int = _LEAST_PART) -> list[TracePart]:
    """The whole file, by at most so many processes, each of which has at least so many bytes to read.

    Raises:
        OSError: it can't be read.
    """
    most = processes if terms.origin is not None else 1  # without one, parts could not be put together
    ranges = list(pairwise(_borders(path, most, least)))
    if len(ranges) == 1:
        return [_read_part(path, *ranges[0], terms)]
    with ProcessPoolExecutor(len(ranges), get_context("spawn")) as pool:
        return [part.result() for part in [pool.submit(_read_part, path, *one, terms) for one in ranges]]


def _borders(path: Path, processes: int, least: int) -> list[int]:
    """Where the parts begin, and the end of the last."""
    size = path.stat().st_size
    parts = max(1, min(processes, _MOST_PARTS, size // least))
    return [size * number // parts for number in range(parts + 1)]


def _read_part(path: Path, start: int, end: int, terms: TraceTerms) -> TracePart:
    """The lines that begin from `start` to before `end`."""
    with Packer() as packer:
        book = TraceBook(terms, packer)
        for line in _lines(path, start, end):
            tree = decode_trace(line)
            if tree:
                book.add(tree)
                tree.clear()  # its spans hold it: this breaks the circle
            elif line.strip():
                book.sums.bad += 1
        return TracePart(book.sums, book.keys, book.timelines.whole(), book.timelines.loose)


def _lines(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb", buffering=_READ_AHEAD) as file:
        at = start
        if start:
            file.seek(start - 1)
            at = start - 1 + len(file.readline())  # the rest of a line that began before
        while at < end and (line := file.readline()):
            at += len(line)
            yield line
