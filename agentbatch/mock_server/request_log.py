"""The server's log: one JSON line for each request, on disk when the request is done with."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import orjson

from agentbatch.errors import OutputError
from agentbatch.record import record


@record
class LogLine:
    """One request. `prompt` is a digest of its content, never the content; `status` 0 means that it got no answer."""

    time: str
    path: str
    prompt: str | None
    status: int
    id: str
    reason: str | None
    model: str | None
    duration_s: float
    traceparent: str | None


class RequestLog:
    """Appends lines to a file, each with one write.

    Raises:
        OutputError: the file can't be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            self._file = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise OutputError(f"can't write the log {path}: {error.strerror}") from error

    def write(self, line: LogLine) -> None:
        """Append one line."""
        os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def now_utc() -> str:
    """The time as log lines write it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
