"""Did-you-mean: the known word nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 100
"""Longer words are no typos of a name, and comparing them takes long."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is probably a misspelling of, if any."""
    if len(word) > _LONGEST:
        return None
    by_lower = {other.lower(): other for other in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What to append to a message about an unknown word: `, did you mean 'prompt'?`, or nothing."""
    match = nearest(word, known)
    return f", did you mean {match!r}?" if match else ""


def listing(words: Iterable[str], at_most: int = 8) -> str:
    """The first few words for a message: `a, b, c, ...`."""
    shown = list(words)
    return ", ".join(shown[:at_most]) + (", ..." if len(shown) > at_most else "")
