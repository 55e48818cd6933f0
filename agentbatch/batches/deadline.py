"""Half-price batches as long as there is time for them, and the ordinary way for what they would bring too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

_LOOK_S = 1.0
_LOOKS = 100
_SPARE = 0.1
"""Share of the time that is kept for what no estimate knows of: at least so much is left for ordinary requests."""


class Batches(Protocol):
    """What of a run's batches (`BatchRoom`) a deadline is about."""

    @property
    def unanswered(self) -> int:
        """Requests that wait for them."""
        ...

    def seconds_online(self, items: int) -> float:
        """How long so many items would take the ordinary way."""
        ...

    def give_up(self, patience_s: float) -> None:
        """Whatever they have not answered is asked the ordinary way, after so many seconds at the latest."""
        ...


async def keep_deadline(room: Batches, seconds: float, items_left: Callable[[], int | None]) -> None:
    """Give up on batches when ordinary requests need the time that is left until `seconds` from now.

    Args:
        room: the run's batches.
        seconds: when the run should be done.
        items_left: how many items have no result; None where that is unknown.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    spare = _SPARE * seconds
    while True:
        left = items_left()
        needed = room.seconds_online(room.unanswered if left is None else left)
        if loop.time() + needed + spare >= due:
            room.give_up(spare / 2)
            return
        await asyncio.sleep(min(_LOOK_S, seconds / _LOOKS))
