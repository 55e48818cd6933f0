"""CSV as RFC 4180 has it: a header row, quoted fields that may hold newlines, every value a string.

What divides the columns shows in the header: a comma, a semicolon as in countries where numbers have commas, or a tab.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator

from agentbatch.errors import InputError
from agentbatch.inputs.json_lines import REPLACEMENT
from agentbatch.inputs.records import Record
from agentbatch.text.figures import counted


class _TooLarge(Exception):
    """A row is longer than the cap."""


class _OpenQuote(Exception):
    """A row goes on and on over many lines: most likely a quote is never closed."""


class _RowLines:
    """Lines of text for `csv.reader`, counted, and refused where one row takes more than `cap` bytes of them.

    An iterator object and no generator: it must live on after it raised in the middle of the file.
    """

    def __init__(self, lines: Iterator[tuple[int, bytes | None]], cap: int) -> None:
        self._lines = lines
        self._cap = cap
        self.number = 0
        self.taken = 0
        """Bytes since the row began."""
        self._ahead: tuple[int, bytes | None] | None = None

    def first_filled(self) -> bytes:
        """The first line that is not blank, which is also the next to be given out; empty where there is none."""
        for number, line in self._lines:
            if line is None or line.strip():
                self._ahead = (number, line)
                return line or b""
        return b""

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        self.number, line = self._ahead or next(self._lines)
        self._ahead = None
        if line is None or len(line) > self._cap:
            raise _TooLarge
        self.taken += len(line)
        if self.taken > self._cap:
            raise _OpenQuote
        return line.decode("utf-8", "replace").replace("\0", REPLACEMENT)


def read_csv_records(name: str, lines: Iterator[tuple[int, bytes | None]], cap: int) -> Iterator[Record]:
    """The rows after the header, each an object of strings; ragged and badly quoted ones as faults.

    Raises:
        InputError: the header can't name the columns, or a quote is never closed: where the next row begins is then
            anybody's guess, and a wrong guess would pay for rows that nobody wrote.
    """
    # the module's default would refuse a field of more than 128 KiB; ours is the cap on whole rows
    csv.field_size_limit(cap)
    text = _RowLines(lines, cap)
    rows = csv.reader(text, strict=True, delimiter=_delimiter(text.first_filled()))
    header: list[str] | None = None
    while True:
        first = text.number + 1
        text.taken = 0
        try:
            row = next(rows)
        except StopIteration:
            return
        except _OpenQuote as error:
            raise _never_closed(name, first) from error
        except (csv.Error, _TooLarge) as error:
            if str(error) == "unexpected end of data":
                raise _never_closed(name, first) from error
            if header is None:
                raise InputError(f"{name}:{first}: the header row is no CSV: {_reason(error, cap)}") from error
            yield Record(first, None, _reason(error, cap))
            continue
        if not row:
            continue
        if header is None:
            header = _column_names(name, row)
        else:
            yield _row_record(first, header, row)


def _delimiter(header: bytes) -> str:
    if b"\t" in header:
        return "\t"
    return ";" if b";" in header and b"," not in header else ","


def _row_record(line: int, header: list[str], row: list[str]) -> Record:
    if len(row) != len(header):
        return Record(line, None, f"{counted(len(row), 'field')}, but the header has {len(header)}")
    return Record(line, dict(zip(header, row, strict=True)))


def _column_names(name: str, row: list[str]) -> list[str]:
    columns = [column.strip() for column in row]
    repeated = [column for column, times in Counter(columns).items() if times > 1]
    if repeated:
        raise InputError(f"{name}: the header names a column twice: {', '.join(map(repr, repeated))}")
    return columns


def _never_closed(name: str, line: int) -> InputError:
    return InputError(f'{name}:{line}: a quote opens in this row and is never closed; double a quote that is meant: ""')


def _reason(error: csv.Error | _TooLarge, cap: int) -> str:
    if isinstance(error, _TooLarge):
        return f"too large: more than {cap:,} bytes in one line"
    return f"not CSV: {error}"
