"""The items of a run: those it has to do, one after the other, and how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agentbatch.config.input_fields import InputNeeds
from agentbatch.inputs import BadLine, Inputs
from agentbatch.items import Item
from agentbatch.results.book import ResultBook
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.run.options import RunOptions


class RunItems:
    """Reads the inputs while the run goes.

    Attributes:
        before: items that an earlier run has done.
        seen: items read so far, those done before among them. to_do: those that this run has to do.
        all_read: whether no more will come.
    """

    def __init__(self, config: Config, options: RunOptions, inputs: Inputs, book: ResultBook) -> None:
        self._inputs = inputs
        self._options = options
        self._book = book
        self._needs = InputNeeds.of(config)
        self._announced = options.selection.count(inputs.count)
        self.before = sum(book.before.values())
        self.seen = self.to_do = 0
        self.all_read = False

    @property
    def total(self) -> int | None:
        """How many there are; None while nobody knows."""
        return self.seen if self._announced is None and self.all_read else self._announced

    @property
    def left(self) -> int | None:
        """How many have no result line; None while nobody knows."""
        total = self.total
        return None if total is None else max(0, total - self.before - sum(self._book.written.values()))

    def take(self, sample: frozenset[int], refuse: Callable[[BadLine], None]) -> Iterator[Item]:
        """The items to do, but for those of a `sample`, by index. Lines that are no items are refused in passing."""
        for entry in self._selected():
            self.seen += 1
            if entry.index in sample or self._book.is_done(entry.id, entry.index):
                continue
            self.to_do += 1
            self._book.expect(entry.index)
            item = self._checked(entry)
            if isinstance(item, Item):
                yield item
            else:
                refuse(item)
        self.all_read = True

    def good(self) -> Iterator[Item]:
        """The items that can be run; where failed ones are run again, only those still to do."""
        for entry in self._selected():
            item = self._checked(entry)
            if isinstance(item, Item) and not (self._options.retry_failed and self.is_done(item)):
                yield item

    def is_done(self, item: Item) -> bool:
        """Whether it has a result that stays."""
        return self._book.is_done(item.id, item.index)

    def notes(self) -> Iterator[str]:
        """What a person should know of the inputs, as far as they were read."""
        if not (self.total or self.seen) and self.all_read:
            items = counted(self._inputs.count or 0, "item")
            left = f"--offset and --limit leave none of the {items} of {self._inputs.name}"
            yield left if self._inputs.count else f"{self._inputs.name} has no items"
        note = self._inputs.text.note(self._inputs.name)
        if note is not None:
            yield note

    def _selected(self) -> Iterator[Item | BadLine]:
        return self._options.selection.of(self._inputs)

    def _checked(self, entry: Item | BadLine) -> Item | BadLine:
        """The item, or why it can't be run: a field that a template is sure to need is not there."""
        lacking = self._needs.lacking(entry.fields) if isinstance(entry, Item) else None
        if lacking is None or isinstance(entry, BadLine):
            return entry
        return BadLine(entry.index, entry.line, f"{self._inputs.name}:{entry.line}: {lacking}", entry.id)
