"""The inputs, read lazily: one `Item` or `BadLine` at a time, with memory that does not grow with their number."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, BinaryIO, cast

from agentbatch.errors import InputError
from agentbatch.inputs.csv_records import read_csv_records
from agentbatch.inputs.file_bytes import (
    MAX_LINE_BYTES,
    FileMeasure,
    is_regular,
    measure_file,
    read_file_lines,
    read_lines,
)
from agentbatch.inputs.id_table import IdTable
from agentbatch.inputs.json_lines import NotJson, breaks_off, is_json, parse_line
from agentbatch.inputs.records import Record
from agentbatch.inputs.spool import Spool
from agentbatch.inputs.utf8_check import Utf8Check
from agentbatch.items import Item
from agentbatch.record import record

_SHOWN_BAD_LINES = 20
_SHOWN_ID = 80


@record
class BadLine:
    """A line (or CSV row) that is no item: it becomes an `error` result of type `input`.

    `message` begins with the place, `file:line`. `id` is the line number, the `custom_id` of a
    request that can't be run, or `<id>#<line>` for a repeated id.
    """

    index: int
    line: int
    message: str
    id: str | int


@record
class Inputs:
    """What one run works on.

    Attributes:
        name: for messages: the path as it was given, or `stdin`.
        digest: blake2b-256 in hex of the raw bytes; None for a stream, which can't be read twice.
        count: how many items and bad lines `read` will give; None for a stream.
    """

    name: str
    digest: str | None
    count: int | None
    records: Callable[[], Iterator[Record]]
    """The lines that are not blank, before they have names."""
    text: Utf8Check = field(default_factory=Utf8Check)
    """Which of them are not UTF-8; of a stream, as far as it was read."""

    @property
    def streamed(self) -> bool:
        """Whether these come by a pipe: readable once, of unknown length."""
        return self.digest is None

    def read(self) -> Iterator[Item | BadLine]:
        """All items in order.

        A plain iterator that blocks while it waits for a stream's next line: iterate from a thread of its own, one
        thread at a time. Such a thread should be a daemon, since nothing can wake it from an idle pipe.

        Raises:
            InputError: the inputs can't be read on, or changed while they were read.
        """
        ids = IdTable(self.count or 0)
        for index, value in enumerate(self.records()):
            yield _named(self.name, index, value, ids)


@record
class InputCheck:
    """What a reading of all the inputs found. `bad` holds the first 20 of `bad_count`."""

    items: int
    bad_count: int
    bad: tuple[BadLine, ...]


def open_inputs(
    path: str | Path,
    *,
    tee: Path | None = None,
    stdin: BinaryIO | None = None,
    cap: int = MAX_LINE_BYTES,
    csv: bool | None = None,
) -> Inputs:
    """The inputs at `path`: a .jsonl, .jsonl.gz or .csv file, a FIFO, or `-` for stdin.

    A file is hashed and counted here, before anything is paid.

    Args:
        path: a file, or `-`. A file's content says whether it is gzip, its name whether it is CSV (.csv, .tsv).
        tee: for a stream: where each line is copied before its item is handed out, and compared on a resume.
        stdin: the stream behind `-`; default: file descriptor 0.
        cap: bytes of the longest line; a longer one becomes a `BadLine`.
        csv: whether it is CSV; None: if its name says so.

    Raises:
        InputError: the inputs can't be read.
    """
    if str(path) == "-":
        return _streamed("stdin", lambda: stdin or open(0, "rb", closefd=False), tee, cap, csv=bool(csv))
    path = Path(path)
    if not is_regular(path):
        return _streamed(str(path), lambda: path.open("rb"), tee, cap, csv=bool(csv))
    measure = measure_file(path)
    if csv or (csv is None and path.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz"))):
        return _csv_file(measure, cap)
    _refuse_spread_out(measure, cap)
    return Inputs(
        str(path),
        measure.digest,
        measure.lines,
        lambda: _json_records(read_file_lines(measure, cap), cap),
        measure.text,
    )


def check_inputs(inputs: Inputs) -> InputCheck:
    """Read everything and collect what is wrong with it."""
    items = 0
    bad_count = 0
    bad: list[BadLine] = []
    for item in inputs.read():
        if isinstance(item, Item):
            items += 1
            continue
        bad_count += 1
        if len(bad) < _SHOWN_BAD_LINES:
            bad.append(item)
    return InputCheck(items, bad_count, tuple(bad))


def _streamed(name: str, opened: Callable[[], BinaryIO], tee: Path | None, cap: int, *, csv: bool) -> Inputs:
    unread = [opened]
    text = Utf8Check()

    def records() -> Iterator[Record]:
        if not unread:
            raise InputError(f"{name}: is a stream, and was read already")
        with unread.pop()() as stream:
            lines = _stream_lines(name, stream, tee, cap, text)
            yield from read_csv_records(name, lines, cap) if csv else _json_records(lines, cap)

    return Inputs(name, None, None, records, text)


def _stream_lines(
    name: str, stream: BinaryIO, tee: Path | None, cap: int, text: Utf8Check
) -> Iterator[tuple[int, bytes | None]]:
    spool = None if tee is None else Spool(tee)

    def take(piece: bytes) -> None:
        text.take(piece)
        if spool is not None:
            spool.take(piece)

    try:
        yield from read_lines(stream, cap, take)
        text.end()
        if spool is not None:
            spool.finish()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error
    finally:
        if spool is not None:
            spool.close()


def _csv_file(measure: FileMeasure, cap: int) -> Inputs:
    def records() -> Iterator[Record]:
        return read_csv_records(str(measure.path), read_file_lines(measure, cap), cap)

    # rows may span lines, so they are counted by the same reader that will read them
    return Inputs(str(measure.path), measure.digest, sum(1 for _ in records()), records, measure.text)


def _json_records(lines: Iterable[tuple[int, bytes | None]], cap: int) -> Iterator[Record]:
    for number, line in lines:
        if line is None:
            yield Record(number, None, f"too large: more than {cap:,} bytes in one line")
            continue
        try:
            yield Record(number, parse_line(line))
        except NotJson as error:
            if line.strip():
                yield Record(number, None, _why_not_json(number, line, error))


def _refuse_spread_out(measure: FileMeasure, cap: int) -> None:
    """See that the first line is no mere beginning of a value that goes on in the next: then no line is one.

    Raises:
        InputError: it is.
    """
    filled = (line for _, line in read_file_lines(measure, cap) if line is None or line.strip())
    first, second = next(filled, None), next(filled, None)
    filled.close()
    if first is None or second is None or not breaks_off(first):
        return
    array = first.lstrip().startswith(b"[")
    if not array and is_json(second):  # the first line alone is broken
        return
    name = shlex.quote(str(measure.path))
    shown, source = (f"zcat {name} | ", "") if measure.gzipped else ("", f" {name}")
    what, picked = ("one JSON array", "'.[]'") if array else ("JSON", ".")
    raise InputError(
        f"{measure.path}: is {what} over several lines, not one value a line; "
        f"convert it: {shown}jq -c {picked}{source} > lines.jsonl"
    )


def _why_not_json(number: int, line: bytes, error: NotJson) -> str:
    hint = ""
    start = line.lstrip()[:2]
    if start == b"{'":
        hint = "; JSON has double quotes only"
    elif number == 1 and start[:1].isalpha():
        hint = "; of plain text make JSON, a text a line: jq -R . FILE; a table is read with --input-format csv"
    return f"not JSON: {error}{hint}"


def _named(file: str, index: int, record: Record, ids: IdTable) -> Item | BadLine:
    line = record.line
    if record.fault is not None:
        return _bad(file, index, line, record.fault, record.name or str(line), ids)
    name = _id_of(record.value, line)
    if name is None:
        return _bad(file, index, line, "`id` must be a string that is not empty, or an integer", str(line), ids)
    first = ids.add(str(name), line)
    if first is None:
        return Item(name, index, record.value, line)
    return _bad(file, index, line, f"the id {_short(str(name))} was used in line {first} before", str(name), ids)


def _id_of(value: Any, line: int) -> str | int | None:
    if type(value) is not dict or "id" not in value:
        return str(line)
    name = cast(dict[str, Any], value)["id"]
    if (type(name) is str and name) or type(name) is int:
        return name
    return None


def _bad(file: str, index: int, line: int, message: str, name: str, ids: IdTable) -> BadLine:
    """A bad line under a name that no item before it has. It doesn't take the name from an item that comes later."""
    while ids.find(name) is not None:
        name = f"{name}#{line}"
    return BadLine(index, line, f"{file}:{line}: {message}", name)


def _short(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_ID else name[:_SHOWN_ID] + "...")
