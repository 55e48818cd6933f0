"""A log file of JSON lines, one a record, written by a thread of its own.

time      RFC 3339, UTC, microseconds.
level     DEBUG, INFO, WARNING, ERROR.
logger    who says it: a module's name.
message   a sentence.
item      the item's id, and trace_id its trace, where it is about one.
exception the traceback, where there is one.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agentbatch.errors import OutputError
from agentbatch.events.writer import EventWriter
from agentbatch.files.plain_json import dump_line
from agentbatch.results import format_time
from agentbatch.trace import Span, current_item

_PATIENCE_S: Final = 2.0
"""How long the end of a run waits for a slow disk."""
_MOST_WAITING: Final = 20_000


class JsonLog(logging.Handler):
    """Appends each record to a file, without secrets. `close` it at the end of the run.

    Raises:
        OutputError: the file can't be opened.
    """

    def __init__(self, path: Path, redact: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__()
        self._redact = redact
        try:
            self._out = EventWriter(str(path), fresh=False, encode=_joined, max_waiting=_MOST_WAITING, period=0.05)
        except OutputError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else str(error)
            raise OutputError(f"{path}: the log can't be written: {reason}; name another --log-file") from error

    @property
    def note(self) -> str | None:
        """What to say about records that are not in the file; None where all are."""
        missing = self._out.missing
        return f"{missing:,} log records are not in {self._out.name}: {self._out.error or 'busy'}" if missing else None

    def emit(self, record: logging.LogRecord) -> None:
        """Have one record written."""
        try:
            self._out.put(self._redact(dump_line(_fields(record))))
        except Exception:  # as every handler: logging must not raise into the code that logs
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._out.close(_PATIENCE_S)
        super().close()


def _joined(lines: list[Any]) -> bytes:
    return b"".join(lines)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": format_time(int(record.created * 1e9)),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    span: Span | None = current_item.get()
    if span is not None:
        fields["item"], fields["trace_id"] = span.attributes.get("item.id"), span.trace_id
    fields |= getattr(record, "about", {})
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
    elif record.exc_text:  # of another process
        fields["exception"] = record.exc_text
    return fields
