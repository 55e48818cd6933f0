"""A first reading of all the inputs against the config: bad lines, repeated ids, and fields that templates need."""

from __future__ import annotations

from collections.abc import Iterator

from agentbatch.config.config import Config
from agentbatch.config.input_fields import LOOKED_AT, InputNeeds, missing_fields
from agentbatch.inputs import Inputs
from agentbatch.inputs.formats import InputFormat, open_inputs_as
from agentbatch.items import Item
from agentbatch.record import record
from agentbatch.text.figures import counted

_SHOWN = 20


@record
class InputsFound:
    """How many inputs can be used, a line for each problem with the others (of many, the first ones), and a note."""

    items: int
    problems: tuple[str, ...]
    note: str | None = None


def check_fields(config: Config, name: str, input_format: InputFormat = "auto") -> InputsFound:
    """Read the inputs once, from end to end, in flat memory.

    Raises:
        InputError: they can't be read at all.
    """
    inputs = open_inputs_as(input_format, name)
    look = _Look(inputs, InputNeeds.of(config))
    first: list[Item] = []
    for item in look.items():
        if len(first) < LOOKED_AT:
            first.append(item)
    absent = missing_fields(config, first)
    # where no input has a field, the lines that lack it say nothing more
    lines = look.lines if look.good or not absent else [line for line in look.lines if not line.lacks]
    shown = [*map(str, absent), *(line.message for line in lines)]
    if look.unusable > len(look.lines):
        shown.append(f"... {counted(look.unusable, 'line')} can't be used, the first of them are above")
    return InputsFound(look.good, tuple(shown), inputs.text.note(inputs.name))


@record
class _BadLine:
    """What is wrong with one line; `lacks` where it is only a field that is missing."""

    message: str
    lacks: bool


class _Look:
    """One reading: good items counted, the first problems of either sort kept."""

    def __init__(self, inputs: Inputs, needs: InputNeeds) -> None:
        self._inputs = inputs
        self._needs = needs
        self.good = 0
        self.unusable = 0
        self.lines: list[_BadLine] = []

    def items(self) -> Iterator[Item]:
        for item in self._inputs.read():
            if not isinstance(item, Item):
                self._keep(_BadLine(item.message, lacks=False))
                continue
            lacking = self._needs.lacking(item.fields)
            if lacking is None:
                self.good += 1
            else:
                self._keep(_BadLine(f"{self._inputs.name}:{item.line}: {lacking}", lacks=True))
            yield item

    def _keep(self, line: _BadLine) -> None:
        self.unusable += 1
        if sum(other.lacks == line.lacks for other in self.lines) < _SHOWN:
            self.lines.append(line)
