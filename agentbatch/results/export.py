"""Results for other tools: CSV, JSON lines, Parquet, with the fields that somebody wants."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Protocol, cast

import orjson

from agentbatch.errors import InputError
from agentbatch.results.lines import CountedLines
from agentbatch.text.field_paths import MISSING, value_at
from agentbatch.text.spreadsheet import cell, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["csv", "jsonl", "parquet"]

_FORMATS: Final[Mapping[str, Format]] = {
    "": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}

DEFAULT_FIELDS: Final = (
    "id",
    "index",
    "status",
    "output",
    "error.type",
    "error.message",
    "started_at",
    "queued_s",
    "duration_s",
    "usage.input_tokens",
    "usage.output_tokens",
    "cost_usd",
    "trace_id",
)
"""The columns of a table, where nobody says which."""

_ROWS: Final = 10_000
"""Rows of one group of a Parquet file, and of one piece of a CSV."""
_NAMED: Final = 20
"""Fields named where somebody asks for one that is not there."""


def export(lines: CountedLines, file: BinaryIO, form: Format, fields: Sequence[str] = ()) -> None:
    """Write the lines that count. Without `fields` JSON lines are whole, and tables have `DEFAULT_FIELDS`.

    Raises:
        InputError: no line has one of the fields, or the library for the format is not installed.
        OSError: it can't be written.
    """
    _check_fields(lines, fields)
    if form == "parquet":
        _write_parquet(lines, file, fields or DEFAULT_FIELDS)
    elif form == "csv":
        _write_csv(lines, file, fields or DEFAULT_FIELDS)
    elif fields:
        for row in lines:
            file.write(orjson.dumps(_picked(row, fields), option=orjson.OPT_APPEND_NEWLINE))
    else:
        for line in lines.raw():
            file.write(line)


def _picked(row: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {field: _value(row, field) for field in fields}


def _value(row: Mapping[str, Any], field: str) -> Any:
    found = value_at(row, field)
    return None if found is MISSING else found


def _check_fields(lines: CountedLines, fields: Sequence[str]) -> None:
    """A field that no line has is a mistake, and a column of nothing would hide it."""
    missing = list(fields)
    if not missing or not len(lines):
        return
    for row in lines:
        missing = [field for field in missing if value_at(row, field) is MISSING]
        if not missing:
            return
    names = ", ".join(missing)
    example = ", ".join(islice(_paths(next(iter(lines))), _NAMED))
    raise InputError(f"{lines.path}: no result has the field {names}. The first one has, for instance: {example}")


def _paths(row: Mapping[str, Any], before: str = "", levels: int = 2) -> Iterator[str]:
    for key, value in row.items():
        path = f"{before}{key}"
        if isinstance(value, dict) and value and levels > 1:
            yield from _paths(value, f"{path}.", levels - 1)  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield path


def _write_csv(lines: Iterable[Mapping[str, Any]], file: BinaryIO, fields: Sequence[str]) -> None:
    """RFC 4180: CRLF, quotes where they are needed, a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([safe_text(field) for field in fields])
    for number, row in enumerate(lines, 1):
        writer.writerow([cell(_value(row, field)) for field in fields])
        if number % _ROWS == 0:
            _flush(text, file)
    _flush(text, file)


def _flush(text: io.StringIO, file: BinaryIO) -> None:
    file.write(text.getvalue().encode("utf-8", "replace"))
    text.seek(0)
    text.truncate()


class _Arrow(Protocol):
    """What is used of pyarrow, which has no types of its own (https://arrow.apache.org/docs/python/api.html)."""

    schema: Any
    record_batch: Any
    string: Callable[[], Any]
    int64: Callable[[], Any]
    float64: Callable[[], Any]
    bool_: Callable[[], Any]


def _write_parquet(lines: CountedLines, file: BinaryIO, fields: Sequence[str]) -> None:
    arrow, parquet = _pyarrow()
    kinds = {field: _Kind() for field in fields}
    for row in lines:
        for field, kind in kinds.items():
            kind.add(_value(row, field))
    schema = arrow.schema([(field, kind.arrow_type(arrow)) for field, kind in kinds.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        for rows in _batches(lines):
            columns = [[kind.fitted(_value(row, field)) for row in rows] for field, kind in kinds.items()]
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def _pyarrow() -> tuple[_Arrow, Any]:
    from importlib import import_module

    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")  # pyright: ignore[reportReturnType]
    except ImportError:
        raise InputError(
            "Parquet needs the library pyarrow: install it with pip install 'agentbatch[parquet]', or take --format csv"
        ) from None


def _batches(lines: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    rows: list[Mapping[str, Any]] = []
    for row in lines:
        rows.append(row)
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


class _Kind:
    """What a column holds. Where values are of several kinds, or are lists or objects, all become text."""

    def __init__(self) -> None:
        self._seen: set[type] = set()

    def add(self, value: Any) -> None:
        """A value of the column. A whole number beyond 64 bits counts as another kind, so that the column is text."""
        if value is not None:
            big = type(value) is int and not -(2**63) <= value < 2**63
            self._seen.add(str if big else cast("type", type(value)))

    def arrow_type(self, arrow: _Arrow) -> Any:
        if self._seen == {bool}:
            return arrow.bool_()
        if self._seen == {int}:
            return arrow.int64()
        return arrow.float64() if self._is_float else arrow.string()

    def fitted(self, value: Any) -> Any:
        """The value as the column takes it."""
        if value is None or self._seen in ({bool}, {int}):
            return value
        if self._is_float:
            return float(value)
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    @property
    def _is_float(self) -> bool:
        return float in self._seen and self._seen <= {int, float}


def format_of(path: Path | None) -> Format:
    """The format that a file's name asks for; JSON lines where it has no ending.

    Raises:
        InputError: its ending is that of no format.
    """
    suffix = "" if path is None else path.suffix.lower()
    found = _FORMATS.get(suffix)
    if found is None:
        raise InputError(f"{path}: {suffix!r} names no format; end it in .csv, .jsonl or .parquet, or give --format")
    return found
