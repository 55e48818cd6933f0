"""What a run was begun with, kept beside its results so that only the same run continues them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson

import agentbatch
from agentbatch.errors import InputError, OutputError
from agentbatch.files.durable import replacing
from agentbatch.marks import Mark
from agentbatch.record import record
from agentbatch.time_book import BoundTime

HEADER_VERSION = 1
_MOST_MARKS = 500
_OF_A_SITTING = frozenset({"bound_by", "thresholds", "marks", "unfinished_usd"})
"""Fields that each sitting of a run adds to, or may change."""


@record
class RunHeader:
    """The shape of a run.

    Attributes:
        version: of this file's format.
        agentbatch: the version of the program that began the run.
        shape: hashes of what shapes an answer, by the config part's dotted name (`agents.writer.prompt`).
        inputs: the digest of the inputs; None where they came by a pipe.
        created_at: RFC 3339, UTC.
        bound_by: what the time of all its sittings went to, `{what, who, seconds}` each; see `time_book`.
        thresholds: what its checks must come to, `{min, mean_score}` by name, as of its last sitting.
        marks: cool-downs and limits that changed in all its sittings, `{at, seconds, what}` each; see `marks`.
        unfinished_usd: what attempts may have cost whose items were left without a line: it counts against a cap.
    """

    version: int
    agentbatch: str
    shape: Mapping[str, str]
    inputs: str | None
    created_at: str
    bound_by: Sequence[Mapping[str, Any]] = ()
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    marks: Sequence[Mapping[str, Any]] = ()
    unfinished_usd: float = 0.0


def new_header(
    shape: Mapping[str, str], inputs: str | None, thresholds: Mapping[str, Mapping[str, float]] | None = None
) -> RunHeader:
    """The header of a run that begins now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return RunHeader(HEADER_VERSION, agentbatch.__version__, dict(shape), inputs, now, thresholds=thresholds or {})


def write_header(path: Path, header: RunHeader) -> None:
    """Put the header in place at once and durably: there is the whole of it, or what was there before.

    Raises:
        OutputError: it can't be written.
    """
    try:
        with replacing(path) as file:
            file.write(orjson.dumps(asdict(header), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def read_header(path: Path) -> RunHeader | None:
    """The header that stands there; None where there is none. Fields that this version does not know are ignored.

    Raises:
        InputError: it can't be read, or a newer agentbatch wrote it.
    """
    try:
        return _header_of(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: is no readable run header ({error}), so nobody can tell whether this run continues the results "
            "beside it; `agentbatch doctor RESULTS` says how to mend that; or name another --output, or --overwrite"
        ) from error
    except _Newer as error:
        raise InputError(
            f"{path}: written by agentbatch {error}, which is newer than this {agentbatch.__version__}; "
            "continue with that version, or name another --output"
        ) from error


class _Newer(Exception):
    """The header's format is newer than this code."""


def _header_of(value: Any) -> RunHeader:
    fields = cast(dict[str, Any], value)
    version = fields["version"]
    if type(version) is not int:
        raise ValueError("its version is no number")
    if version > HEADER_VERSION:
        raise _Newer(fields.get("agentbatch"))
    shape = cast(dict[str, Any], fields["shape"])
    inputs = fields["inputs"]
    return RunHeader(
        version=version,
        agentbatch=str(fields.get("agentbatch", "")),
        shape={name: str(digest) for name, digest in shape.items()},
        inputs=None if inputs is None else str(inputs),
        created_at=str(fields.get("created_at", "")),
        bound_by=tuple(_bound_times(fields.get("bound_by"))),
        thresholds=dict(_thresholds(fields.get("thresholds"))),
        marks=tuple(_marks(fields.get("marks"))),
        unfinished_usd=max(0.0, float(fields.get("unfinished_usd") or 0.0)),
    )


def _thresholds(value: Any) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Those that can be read: like the times, they are only told again."""
    for name, asked in cast(dict[str, Any], value).items() if isinstance(value, dict) else ():
        if isinstance(asked, dict):
            levels = cast(dict[str, Any], asked)
            yield name, {key: float(level) for key, level in levels.items() if isinstance(level, int | float)}


def _marks(value: Any) -> Iterator[Mapping[str, Any]]:
    """Those that can be read."""
    for entry in cast(list[Any], value) if isinstance(value, list) else ():
        if isinstance(entry, dict):
            fields = cast(dict[str, Any], entry)
            at, seconds, what = fields.get("at"), fields.get("seconds"), fields.get("what")
            if isinstance(at, int | float) and isinstance(seconds, int | float) and isinstance(what, str):
                yield {"at": float(at), "seconds": float(seconds), "what": what}


def _bound_times(value: Any) -> Iterator[Mapping[str, Any]]:
    """The entries that can be read: they only say what the time went to, so nothing fails for them."""
    for entry in cast(list[Any], value) if isinstance(value, list) else ():
        if isinstance(entry, dict):
            fields = cast(dict[str, Any], entry)
            what, who, seconds = fields.get("what"), fields.get("who"), fields.get("seconds")
            if isinstance(what, str) and isinstance(who, str) and isinstance(seconds, int | float):
                yield {"what": what, "who": who, "seconds": float(seconds)}


def with_times(header: RunHeader, times: Iterable[BoundTime]) -> RunHeader:
    """The header with one more sitting's time added up."""
    seconds = {(entry["what"], entry["who"]): float(entry["seconds"]) for entry in header.bound_by}
    for one in times:
        seconds[one.what, one.who] = seconds.get((one.what, one.who), 0.0) + one.seconds
    entries = [{"what": what, "who": who, "seconds": round(spent, 3)} for (what, who), spent in seconds.items()]
    return replace(header, bound_by=tuple(entries))


def with_unfinished(header: RunHeader, usd: float) -> RunHeader:
    """The header with what one more sitting may have paid for items that it left without a line."""
    return replace(header, unfinished_usd=header.unfinished_usd + usd)


def with_marks(header: RunHeader, marks: Iterable[Mark]) -> RunHeader:
    """The header with the marks of one more sitting, the newest `_MOST_MARKS` of all."""
    new = [{"at": round(mark.at_s, 3), "seconds": mark.seconds, "what": mark.words} for mark in marks]
    return replace(header, marks=(*header.marks, *new)[-_MOST_MARKS:])


def told_apart(header: RunHeader) -> bytes:
    """What tells this run from another at the same path: all but what belongs to its sittings."""
    return orjson.dumps({name: value for name, value in asdict(header).items() if name not in _OF_A_SITTING})


def compare_headers(old: RunHeader, new: RunHeader) -> list[str]:
    """What differs between the run that was begun and this one, for people: `agents.writer.prompt changed`.

    The versions of the program and the times don't count. Empty where this run continues that one.
    """
    differences = ["the inputs changed"] if old.inputs != new.inputs else []
    changed = [name for name, digest in new.shape.items() if old.shape.get(name, digest) != digest]
    differences += [f"{name} changed" for name in changed]
    differences += [f"{name} was added" for name in _only_in(new.shape, old.shape)]
    differences += [f"{name} was removed" for name in _only_in(old.shape, new.shape)]
    return differences


def _only_in(these: Mapping[str, str], those: Mapping[str, str]) -> list[str]:
    """Parts that only `these` have. One that is new as a whole is named once: `agents.writer`, not each of its keys."""
    wholes = {_whole(name) for name in those}
    return list(dict.fromkeys(_whole(name) if _whole(name) not in wholes else name for name in _missing(these, those)))


def _missing(these: Iterable[str], those: Mapping[str, str]) -> list[str]:
    return [name for name in these if name not in those]


def _whole(name: str) -> str:
    return ".".join(name.split(".")[:2])
