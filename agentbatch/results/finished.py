"""An item's end in the form in which it travels to the results file: its line, and what the run wants to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentbatch.items import Failure, ItemResult, Result, Status
from agentbatch.record import record
from agentbatch.results.encode import checks_of, encode_result, is_truncated
from agentbatch.results.openai_batch import OutputFormat
from agentbatch.text.redact import Redactor


@record
class FinishedItem:
    """One ended item, without secrets. `line` is its result line; the rest is in it too, but need not be read again.

    Attributes:
        attempts: requests sent for it.
        truncated: an answer was cut by `max_tokens`.
        checks: its verdicts, by name.
        fared_well: the names of its agents and groups that ended ok.
    """

    id: str | int
    index: int
    status: Status
    error: Failure | None
    attempts: int
    truncated: bool
    checks: Mapping[str, Any]
    fared_well: tuple[str, ...]
    line: bytes


class Finishing:
    """Writes result lines. `include` are their optional parts: `agents`, `usage`; `shape` is how they look."""

    def __init__(self, include: frozenset[str], redactor: Redactor, shape: OutputFormat = "agentbatch") -> None:
        self._shape: OutputFormat = shape
        self._include = include
        self._redactor = redactor

    def __call__(self, ended: ItemResult) -> FinishedItem:
        """The item as it goes to the results."""
        item, result = ended.item, ended.result
        return FinishedItem(
            item.id,
            item.index,
            result.status,
            None if (error := result.error) is None else replace(error, message=self._redactor.text(error.message)),
            result.attempts,
            is_truncated(result),
            self._redactor.value(checks_of(result)),
            tuple({step.name.partition("[")[0] for step in _all_steps(result.steps) if step.status == "ok"}),
            self._redactor.data(encode_result(ended, self._include, self._shape)),
        )


def _all_steps(steps: Mapping[str, Result]) -> Iterator[Result]:
    for step in steps.values():
        yield step
        if step.steps:
            yield from _all_steps(step.steps)
