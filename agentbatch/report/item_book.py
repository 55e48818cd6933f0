"""What a results file says of every item: the last line of an id counts."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agentbatch.inputs.id_table import IdTable
from agentbatch.record import record
from agentbatch.report.result_lines import STATUSES, LineError, ResultLine

_CODES = {status: code for code, status in enumerate(STATUSES)}
_MOST_EXAMPLES = 24
_SHOWN_EXAMPLES = 4
_LONGEST_MESSAGE = 2000


@record
class Example:
    """One failed item, and why."""

    id: str
    agent: str | None
    http_status: int | None
    message: str


@record
class ErrorGroup:
    """All items that failed with one type of error; examples with different messages."""

    type: str
    count: int
    examples: Sequence[Example]


class ItemBook:
    """Some 30 bytes and the id's text for each item. An item's `slot` is its place in order of first appearance.

    Attributes:
        ids: by slot.
        statuses: by slot, codes into `STATUSES`.
        digests: by slot, a hash of the output that holds within this process.
        superseded: lines that a later one of the same id replaced.
    """

    def __init__(self, expected: int = 0) -> None:
        self.ids: list[str] = []
        self.statuses = bytearray()
        self.digests = array("q")
        self.superseded = 0
        self.error_types: list[str] = []
        self._table = IdTable(expected)
        self._lines = array("I")
        self._errors = array("H")
        """By slot: 0, or the number of the error's type from 1."""
        self._type_numbers: dict[str, int] = {}
        self._examples: dict[str, list[tuple[int, int, LineError]]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def enter(self, line: ResultLine) -> int:
        """Take a line in; the item's slot."""
        known = self._table.add(line.id, len(self.ids))
        code, error = _CODES[line.status], self._error_number(line)
        digest = _digest(line.output)
        if known is None:
            slot = len(self.ids)
            self.ids.append(line.id)
            self.statuses.append(code)
            self.digests.append(digest)
            self._lines.append(line.number)
            self._errors.append(error)
        else:
            slot = known
            self.superseded += 1
            self.statuses[slot], self.digests[slot] = code, digest
            self._lines[slot], self._errors[slot] = line.number, error
        if line.error is not None and error:
            self._keep_example(slot, line.number, line.error)
        return slot

    def slot_of(self, item_id: str) -> int | None:
        """Where an item stands; None where it has no line."""
        return self._table.find(item_id)

    def status(self, slot: int) -> str:
        """The status in the item's last line."""
        return STATUSES[self.statuses[slot]]

    def error_number(self, slot: int) -> int:
        """0, or the place of the item's error type in `error_types`, from 1."""
        return self._errors[slot]

    def counts(self) -> Mapping[str, int]:
        """Items by status, those that none has left out."""
        return {status: number for code, status in enumerate(STATUSES) if (number := self.statuses.count(code))}

    def error_groups(self) -> list[ErrorGroup]:
        """The failed items by type, the most frequent first."""
        groups: list[ErrorGroup] = []
        for name, number in self._type_numbers.items():
            if count := self._errors.count(number):
                groups.append(ErrorGroup(name, count, self._shown_examples(name)))
        return sorted(groups, key=lambda group: -group.count)

    def _error_number(self, line: ResultLine) -> int:
        if line.status in ("ok", "skipped"):
            return 0
        name = line.error.type if line.error else line.status
        number = self._type_numbers.get(name)
        if number is None:
            if len(self.error_types) >= 1000:  # no run has so many: a file made to fill memory
                name = "other"
            number = self._type_numbers.setdefault(name, len(self.error_types) + 1)
            if number > len(self.error_types):
                self.error_types.append(name)
        return number

    def _keep_example(self, slot: int, number: int, error: LineError) -> None:
        examples = self._examples.setdefault(error.type, [])
        if len(examples) < _MOST_EXAMPLES and len(self._examples) < 1000:
            cut = error._replace(message=error.message[:_LONGEST_MESSAGE])
            examples.append((slot, number, cut))

    def _shown_examples(self, error_type: str) -> list[Example]:
        """Those that no later line superseded; of one agent and message only the first, where there are others."""
        valid = [one for one in self._examples.get(error_type, ()) if self._lines[one[0]] == one[1]]
        first_of: dict[tuple[str | None, str], tuple[int, int, LineError]] = {}
        for one in valid:
            first_of.setdefault((one[2].agent, one[2].message), one)
        return [
            Example(self.ids[slot], error.agent, error.http_status, error.message)
            for slot, _, error in list(first_of.values())[:_SHOWN_EXAMPLES]
        ]


def _digest(output: Any) -> int:
    if isinstance(output, str):
        return hash(output)
    return hash(orjson.dumps(output, option=orjson.OPT_SORT_KEYS))
