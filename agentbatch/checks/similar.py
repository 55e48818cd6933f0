"""`similar`: how near an answer comes to another text, by the edits between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record
from agentbatch.templates import Condition

_MOST_TEXT: Final = 10_000
"""Characters compared of each text: some 50 ms of work at most."""


@record
class Similar:
    """Compares texts without outer white space."""

    to: Condition
    least: float
    ignore_case: bool = False

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if the similarity is at least the least."""
        found = similarity(self._folded(value), self._folded(self.to.value(names)))
        message = "" if found >= self.least else f"similarity {found:.3f} is below {self.least:g}"
        return Verdict(found >= self.least, found, message)

    def _folded(self, value: Any) -> str:
        text = as_text(value).strip()[:_MOST_TEXT]
        return text.casefold() if self.ignore_case else text


def similarity(one: str, other: str) -> float:
    """From 0 (nothing in common) to 1 (the same): 1 - edits / length of the longer one."""
    longest = max(len(one), len(other))
    return 1.0 - edit_distance(one, other) / longest if longest else 1.0


def edit_distance(one: str, other: str) -> int:
    """The fewest insertions, deletions and replacements of letters that make one text of the other (Levenshtein).

    A whole row of the table at once, as the bits of integers: Myers, https://doi.org/10.1145/316542.316550, as Hyyrö
    states it.
    """
    if not one or not other:
        return len(one) or len(other)
    where: dict[str, int] = {}
    for place, letter in enumerate(one):
        where[letter] = where.get(letter, 0) | 1 << place
    mask, last, distance = (1 << len(one)) - 1, 1 << (len(one) - 1), len(one)
    more, less = mask, 0
    """Bits of the places at which the column grows, or shrinks, by one."""
    for letter in other:
        match = where.get(letter, 0)
        diagonal = (((match & more) + more) ^ more) | match | less
        grows, shrinks = less | ~(diagonal | more) & mask, more & diagonal
        distance += bool(grows & last) - bool(shrinks & last)
        grows, shrinks = (grows << 1 | 1) & mask, shrinks << 1 & mask
        more, less = (shrinks | ~(diagonal | grows)) & mask, grows & diagonal
    return distance


def build(config: CheckConfig, where: str, assembly: Assembly) -> Similar:
    """The check that `config` describes."""
    assert config.similar is not None
    return Similar(Condition(config.similar.to, where=where), config.similar.min, config.ignore_case)
