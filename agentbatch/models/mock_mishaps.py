"""What befalls a mock's answers on their way, rather than being an answer of the endpoint's: silence, a closed line."""

from __future__ import annotations

from typing import Literal

from agentbatch.models.mock_answer import MockKnobs
from agentbatch.models.mock_draws import fraction

Mishap = Literal["hang", "disconnect", "truncate"]


def mishap_of(knobs: MockKnobs, key: bytes) -> Mishap | None:
    """The mishap of the attempt with this key, or None: the same for the same key."""
    if fraction(key, b"hang") < knobs.hang:
        return "hang"
    if fraction(key, b"disconnect") < knobs.disconnect:
        return "disconnect"
    return "truncate" if fraction(key, b"truncate") < knobs.truncate else None


def without_mishaps(knobs: MockKnobs) -> bool:
    """Whether no chance has to be drawn at all."""
    return not (knobs.hang or knobs.disconnect or knobs.truncate)
