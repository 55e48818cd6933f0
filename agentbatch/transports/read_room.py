"""How many bytes of large answers may be on their way into memory at once, over all connections.

A thousand answers of 5 MB that come together would take 5 GB before the first of them is whole. A body that turns out
large takes room here for all that it can become; where there is none, its connection is not read on (and the server's
kernel holds the rest) until others have ended. The first in the queue always gets in when nobody is inside, so that no
body is too large for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MOST_BYTES: Final = 128 * 1024 * 1024
LARGE_BYTES: Final = 64 * 1024
"""Bodies up to this need no room."""


class ReadRoom:
    """Used on one event loop, by all connections of a pool."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._taken = 0
        self._waiting: deque[tuple[Place, int]] = deque()

    def enter(self, size: int, resume: Callable[[], None]) -> tuple[Place, bool]:
        """Take room for so many bytes; returns the place, and whether it is free now: else `resume` says when."""
        place = Place(self, resume)
        if self._taken and (self._waiting or self._taken + size > self._most_bytes):
            self._waiting.append((place, size))
            return place, False
        self._grant(place, size)
        return place, True

    def leave(self, place: Place) -> None:
        """It is not needed any more, had or not."""
        if not place.bytes:
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not place)
        self._taken -= place.bytes
        place.bytes = 0
        while self._waiting and (not self._taken or self._taken + self._waiting[0][1] <= self._most_bytes):
            following, size = self._waiting.popleft()
            self._grant(following, size)
            following.resume()

    def _grant(self, place: Place, size: int) -> None:
        place.bytes = size
        self._taken += size


class Place:
    """Room that one body has, or waits for."""

    __slots__ = ("bytes", "resume", "room")

    def __init__(self, room: ReadRoom, resume: Callable[[], None]) -> None:
        self.room = room
        self.resume = resume
        self.bytes = 0

    def leave(self) -> None:
        """Give it up."""
        self.room.leave(self)
