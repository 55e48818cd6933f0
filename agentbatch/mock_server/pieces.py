"""Cuts a text the way a model's stream does: a few characters at a time."""

from __future__ import annotations

from collections.abc import Iterator

_MOST = 32
"""Pieces of one text: a long answer comes in longer pieces, not in more."""


def pieces(text: str) -> Iterator[str]:
    """The text in order, in at most 32 pieces of at least 4 characters each but for the last."""
    step = max(4, -(-len(text) // _MOST))
    for start in range(0, len(text), step):
        yield text[start : start + step]
