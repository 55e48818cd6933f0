"""What a results file must hold whatever happened to the runs that wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from end_to_end.provider import Asked, token


@dataclass(frozen=True)
class Faults:
    """Everything that is wrong with a results file; all empty where it is sound."""

    lost: list[str]
    doubled: list[str]
    mixed_up: list[str]
    strangers: list[str]
    torn: list[bytes]

    def __bool__(self) -> bool:
        return any((self.lost, self.doubled, self.mixed_up, self.strangers, self.torn))


def faults_of(results: Path, ids: Iterable[str], *, complete: bool = True) -> Faults:
    """Look at every byte. While a run is not `complete`, items may be missing, but nothing else may be wrong."""
    wanted = list(ids)
    lines, torn = _lines(results)
    seen = Counter(str(line["id"]) for line in lines)
    return Faults(
        lost=[one for one in wanted if one not in seen] if complete else [],
        doubled=[one for one, count in seen.items() if count > 1],
        mixed_up=[str(line["id"]) for line in lines if line["status"] == "ok" and not _fits(line)],
        strangers=sorted(seen.keys() - set(wanted)),
        torn=torn,
    )


def committed(results: Path) -> set[str]:
    """The ids whose lines are whole."""
    return {str(line["id"]) for line in _lines(results)[0]}


def paid_twice(before: Collection[str], asked_later: Iterable[Asked]) -> list[str]:
    """Items that had a line and were asked about again."""
    return sorted({asked.id for asked in asked_later} & set(before))


def _fits(line: dict[str, Any]) -> bool:
    return token(str(line["id"])) in json.dumps(line["output"])


def _lines(results: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    if not results.exists():
        return [], []
    lines: list[dict[str, Any]] = []
    torn: list[bytes] = []
    for raw in results.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(raw.decode(), parse_constant=_refuse)
            if not raw.endswith(b"\n") or not {"id", "index", "status", "output", "error", "trace_id"} <= line.keys():
                raise ValueError
            lines.append(line)
        except (ValueError, AttributeError):
            torn.append(raw)
    return lines, torn


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
