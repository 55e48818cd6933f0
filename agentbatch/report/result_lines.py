"""The lines of a results file as the report reads them: patient with old and with damaged ones, and saying so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from agentbatch.errors import InputError
from agentbatch.results import FLOW_KINDS
from agentbatch.results.lines import parse_result
from agentbatch.results.opening import no_results, open_results

STATUSES = ("ok", "error", "timeout", "cancelled", "skipped")
_READ_AHEAD = 1 << 20
SUCCESSES = frozenset({"ok", "skipped"})


class LineError(NamedTuple):
    """An `error` of a line: of the item, or of one agent."""

    type: str
    message: str
    agent: str | None
    http_status: int | None


class StepLine(NamedTuple):
    """One agent or group of an item, by its path. Times are seconds; `cost_usd` is None where a price is unknown.

    `tokens`, `requests` and `cost_usd` are of the step and of all below it.
    """

    path: str
    name: str
    is_flow: bool
    status: str
    output: Any
    error: LineError | None
    attempts: int
    queued_s: float
    duration_s: float
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ResultLine(NamedTuple):
    """One result. `started_ns` is Unix time, None in a line without one; `number` is the line's in its file."""

    number: int
    id: str
    status: str
    output: Any
    error: LineError | None
    trace_id: str
    truncated: bool
    steps: tuple[StepLine, ...]
    has_usage: bool
    input_tokens: int
    output_tokens: int
    requests: int
    cost_usd: float | None
    started_ns: int | None
    queued_s: float
    duration_s: float
    checks: frozenset[str] = frozenset()
    """The names of its checks."""


@dataclass(slots=True)
class ResultLines:
    """Reads a results file once.

    Attributes:
        bad: the numbers of the lines that are no results, as a torn end or damage leaves them.
    """

    path: Path
    bad: list[int] = field(default_factory=list[int])

    def __iter__(self) -> Iterator[ResultLine]:
        """The results, in the order of the file.

        Raises:
            InputError: there is no such file, it can't be read, or no line of it is a result.
        """
        good = False
        try:
            with open_results(self.path) as file:
                for number, line in enumerate(file, 1):
                    result = read_result(number, line)
                    if result is not None:
                        good = True
                        yield result
                    elif line.strip():
                        self.bad.append(number)
        except OSError as error:
            raise InputError(f"{self.path}: can't be read: {error.strerror or error}") from error
        if self.bad and not good and not (len(self.bad) == 1 and _may_be_torn(self.path)):
            raise no_results(self.path)


def _may_be_torn(path: Path) -> bool:
    with path.open("rb") as file:
        return b'{"id":'.startswith(file.read(6))


def count_lines(path: Path) -> int:
    """How many lines a file has, the last one with or without its newline.

    Raises:
        InputError: it can't be read.
    """
    try:
        with open_results(path) as file:
            lines, last = 0, b"\n"
            while chunk := file.read(_READ_AHEAD):
                lines, last = lines + chunk.count(b"\n"), chunk[-1:]
            return lines + (last != b"\n")
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from error


def read_result(number: int, line: bytes) -> ResultLine | None:
    """A line's result; None if it is none. Fields that it lacks, or has in another shape, count as absent."""
    fields = parse_result(line)
    if fields is None:
        return None
    status, item_id = fields.get("status"), fields.get("id")
    if status not in STATUSES or type(item_id) not in (str, int):
        return None
    usage = _mapping(fields.get("usage"))
    return ResultLine(
        number=number,
        id=str(item_id),
        status=status,
        output=fields.get("output"),
        error=_error(fields.get("error")),
        trace_id=_text(fields.get("trace_id")) or "",
        truncated=fields.get("truncated") is True,
        steps=_steps(_mapping(fields.get("agents"))),
        has_usage=bool(usage),
        input_tokens=_whole(usage.get("input_tokens")),
        output_tokens=_whole(usage.get("output_tokens")),
        requests=_whole(usage.get("requests")),
        cost_usd=_number(fields.get("cost_usd")),
        started_ns=_unix_ns(fields.get("started_at")),
        queued_s=_number(fields.get("queued_s")) or 0.0,
        duration_s=_number(fields.get("duration_s")) or 0.0,
        checks=frozenset(_mapping(fields["checks"])) if "checks" in fields else frozenset(),
    )


def _steps(agents: Mapping[str, Any]) -> tuple[StepLine, ...]:
    return tuple([_step(path, cast("dict[str, Any]", step)) for path, step in agents.items() if type(step) is dict])


def _step(path: str, fields: dict[str, Any]) -> StepLine:
    usage = _mapping(fields.get("usage"))
    return StepLine(
        path,
        step_name(path),
        fields.get("kind") in FLOW_KINDS,
        _text(fields.get("status")) or "",
        fields.get("output"),
        _error(fields.get("error")),
        _whole(fields.get("attempts")),
        _number(fields.get("queued_s")) or 0.0,
        _number(fields.get("duration_s")) or 0.0,
        _whole(usage.get("input_tokens")),
        _whole(usage.get("output_tokens")),
        _number(fields.get("cost_usd")),
    )


def step_name(path: str) -> str:
    """What the config calls the step at a path: `writer` for `refine[2].writer[3]`."""
    return path.rpartition(".")[2].partition("[")[0]


def _error(value: Any) -> LineError | None:
    if type(value) is not dict:
        return None
    fields = cast("dict[str, Any]", value)
    http_status = fields.get("http_status")
    return LineError(
        _text(fields.get("type")) or "unknown",
        _text(fields.get("message")) or "",
        _text(fields.get("agent")),
        http_status if type(http_status) is int else None,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _unix_ns(value: Any) -> int | None:
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1e6) * 1000
    except (TypeError, ValueError, OverflowError):
        return None
