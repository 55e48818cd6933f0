"""A first reading of all the inputs against the config: bad lines, repeated ids, and fields that templates need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentbatch.config import Config
from agentbatch.input_fields import LOOKED_AT, InputNeeds, missing_fields
from agentbatch.inputs import Inputs, open_inputs
from agentbatch.items import Item

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class InputsFound:
    """How many inputs can be used, and a line for each problem with the others (of many, the first ones)."""

    items: int
    problems: tuple[str, ...]


def check_fields(config: Config, name: str) -> InputsFound:
    """Read the inputs once, from end to end, in flat memory.

    Raises:
        InputError: they can't be read at all.
    """
    inputs = open_inputs(name)
    look = _Look(inputs, InputNeeds.of(config))
    first: list[Item] = []
    for item in look.items():
        if len(first) < LOOKED_AT:
            first.append(item)
    absent = missing_fields(config, first)
    shown = [str(problem) for problem in absent]
    if not absent or look.good:  # where no input has a field, the lines that lack it say nothing more
        shown += look.lines
    else:
        shown += look.bad
    if look.count > len(look.lines):
        shown.append(f"... {look.count:,} lines can't be used, the first {len(look.lines)} are above")
    return InputsFound(look.good, tuple(shown))


class _Look:
    """One reading: good items counted, the first problems kept."""

    def __init__(self, inputs: Inputs, needs: InputNeeds) -> None:
        self._inputs = inputs
        self._needs = needs
        self.good = 0
        self.count = 0
        self.lines: list[str] = []
        self.bad: list[str] = []

    def items(self) -> Iterator[Item]:
        for item in self._inputs.read():
            if not isinstance(item, Item):
                self._keep(item.message, self.bad)
                continue
            lacking = self._needs.lacking(item.fields)
            if lacking is None:
                self.good += 1
            else:
                self._keep(f"{self._inputs.name}:{item.line}: {lacking}", [])
            yield item

    def _keep(self, message: str, also: list[str]) -> None:
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(message)
            also.append(message)
