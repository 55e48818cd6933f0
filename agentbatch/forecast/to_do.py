"""What a run would have to do, looked at from outside: nothing is locked, healed, made or changed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from agentbatch.config.input_fields import InputNeeds
from agentbatch.config.shape import config_shape
from agentbatch.inputs import BadLine, Inputs
from agentbatch.inputs.formats import open_inputs_as
from agentbatch.items import Item
from agentbatch.record import record
from agentbatch.results.book import continues
from agentbatch.results.header import new_header, read_header
from agentbatch.results.scan import Finished, scan_results

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.run.options import RunOptions

SAMPLED = 100
"""Items that an estimate looks at."""


@record
class ToDo:
    """The items of a run.

    Attributes:
        total: chosen inputs, good and bad.
        done: those of them that have a result already and need none.
        bad: those that would become an error of type `input` without a call; `problem` is what is wrong with the first.
        items: the rest: what would be run.
        drawn: some of these by chance, at most 100, in their order.
        spent_usd: what the results that stand there have cost.
        note: what else a person should know of the inputs.
    """

    total: int
    done: int
    bad: int
    problem: str
    items: int
    drawn: tuple[Item, ...]
    spent_usd: float = 0.0
    note: str | None = None


def look(config: Config, options: RunOptions) -> ToDo:
    """Read the inputs once, and the results of earlier runs if this one would continue them.

    Raises:
        InputError: the run would refuse to begin: the inputs can't be read, or the results belong to another run.
    """
    inputs = open_inputs_as(options.input_format, options.path)
    finished = _finished(config, options, inputs)
    return _Look(config, options, inputs, finished).to_do()


def _finished(config: Config, options: RunOptions, inputs: Inputs) -> Finished | None:
    if options.files is None or options.overwrite:
        return None
    if not continues(options.files, new_header(config_shape(config, options.output_format), inputs.digest)):
        return None
    return scan_results(options.files.results, heal=False)


class _Look:
    """One reading of the inputs."""

    def __init__(self, config: Config, options: RunOptions, inputs: Inputs, finished: Finished | None) -> None:
        self._options = options
        self._inputs = inputs
        self._needs = InputNeeds.of(config)
        self._finished = finished
        self._total = self._bad = self._good = 0
        self._problem = ""

    def to_do(self) -> ToDo:
        drawn = self._draw()
        return ToDo(
            total=self._total,
            done=self._total - self._bad - self._good,
            bad=self._bad,
            problem=self._problem,
            items=self._good,
            drawn=tuple(sorted(drawn, key=lambda item: item.index)),
            spent_usd=self._spent_usd(),
            note=self._inputs.text.note(self._inputs.name),
        )

    def _spent_usd(self) -> float:
        """What counts against the run's cap, as for the run itself."""
        if self._finished is None or self._options.files is None:
            return 0.0
        begun = read_header(self._options.files.header)
        unfinished = 0.0 if begun is None else begun.unfinished_usd
        return self._finished.cost_usd + self._finished.possibly_billed_usd + unfinished

    def _draw(self) -> list[Item]:
        """Reservoir sampling: Vitter, https://doi.org/10.1145/3147.3165, algorithm R."""
        drawn: list[Item] = []
        chance = Random(0)
        for item in self._items():
            self._good += 1
            if len(drawn) < SAMPLED:
                drawn.append(item)
            elif (place := chance.randrange(self._good)) < SAMPLED:
                drawn[place] = item
        return drawn

    def _items(self) -> Iterator[Item]:
        """The items to run; the others are counted in passing."""
        for entry in self._options.selection.of(self._inputs):
            self._total += 1
            if self._finished is not None and self._finished.is_done(entry.id, entry.index, self._options.retry_failed):
                continue
            problem = self._what_is_wrong(entry)
            if problem is None and isinstance(entry, Item):
                yield entry
                continue
            self._bad += 1
            self._problem = self._problem or problem or ""

    def _what_is_wrong(self, entry: Item | BadLine) -> str | None:
        if isinstance(entry, BadLine):
            return entry.message
        lacking = self._needs.lacking(entry.fields)
        return None if lacking is None else f"{self._inputs.name}:{entry.line}: {lacking}"
