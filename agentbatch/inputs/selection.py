"""Part of the inputs: which items a run takes, and how many those are, known before they are read."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from agentbatch.errors import InputError
from agentbatch.inputs.reader import BadLine, Inputs
from agentbatch.items import Item
from agentbatch.record import record

_T = TypeVar("_T")
_NO_END = 1 << 62


@record
class Selection:
    """Which of the inputs a run takes; by default all.

    `offset` leaves out the first ones and `limit` the rest; `sample` draws from what is left: uniform, without
    repetition, the same for the same seed.
    """

    offset: int = 0
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is all of them."""
        return not self.offset and self.limit is None and self.sample is None

    def of(self, inputs: Inputs) -> Iterator[Item | BadLine]:
        """The selected ones, in their order, read no further than needed.

        Raises:
            InputError: a sample is wanted of a stream.
        """
        total = self._before_sampling(inputs.count)
        if self.sample is None:
            return islice(inputs.read(), self.offset, None if self.limit is None else self.offset + self.limit)
        if total is None:
            raise InputError(
                f"{inputs.name}: --sample needs to know how many items there are; save them to a file first"
            )
        return self._sampled(islice(inputs.read(), self.offset, self.offset + total), total, self.sample)

    def count(self, inputs: int | None) -> int | None:
        """How many items that is, of so many inputs; None where that is unknown."""
        left = self._before_sampling(inputs)
        return left if left is None or self.sample is None else min(left, self.sample)

    def indexes(self, inputs: int | None) -> Iterable[int]:
        """The indexes of the selected, of so many inputs; with a sample of what is unknown, none."""
        total = self._before_sampling(inputs)
        if total is None:
            end = _NO_END if self.limit is None else self.offset + self.limit
            return range(self.offset, end) if self.sample is None else ()
        everything = range(self.offset, self.offset + total)
        return everything if self.sample is None else tuple(self._sampled(everything, total, self.sample))

    def _before_sampling(self, inputs: int | None) -> int | None:
        if inputs is None:
            return None
        left = max(0, inputs - self.offset)
        return left if self.limit is None else min(left, self.limit)

    def _sampled(self, items: Iterable[_T], total: int, wanted: int) -> Iterator[_T]:
        """Selection sampling: Knuth, TAOCP volume 2, 3.4.2, algorithm S. Nothing is held."""
        draw = random.Random(self.seed)
        wanted = min(wanted, total)
        for seen, item in enumerate(items):
            if wanted == 0:
                return
            if (total - seen) * draw.random() < wanted:
                wanted -= 1
                yield item
