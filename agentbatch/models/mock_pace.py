"""How long each request to a mock takes, and how it fails if it does."""

from __future__ import annotations

from typing import NamedTuple

from agentbatch.models.mock_answer import MockKnobs
from agentbatch.models.mock_draws import AskCount
from agentbatch.models.mock_faults import FaultDraw, FaultKind


class Turn(NamedTuple):
    """What befalls one attempt. `key` draws further chances of it, `asked` says how often the same was asked before."""

    seconds: float
    fault: FaultKind | None
    key: bytes
    asked: int


class Pace:
    """Draws each attempt's turn from the request's key and how often that very request was asked before.

    With a constant latency and no faults nothing has to be counted, unless `counting` asks for it.
    """

    def __init__(self, knobs: MockKnobs, *, counting: bool = False) -> None:
        self._latency = knobs.latency
        self._faults = FaultDraw(knobs.errors)
        self._asked = AskCount()
        self._counting = counting or not (isinstance(knobs.latency, float | int) and self._faults.never)

    def next(self, key: bytes) -> Turn:
        """The turn of one more attempt at the request with this key."""
        asked = 0
        if self._counting:
            asked = self._asked.next(key)
            key += asked.to_bytes(4, "big")
        latency = self._latency
        seconds = latency if isinstance(latency, float | int) else latency.seconds(key)
        return Turn(seconds, self._faults.draw(key), key, asked)
