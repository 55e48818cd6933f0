"""The books of limits that several processes share: who was given how much of what, and when. Pure.

All times are seconds of the machine's monotonic clock, which its processes share. What is given of a rate may be used
for `LEASE_S`, so it counts that much longer than a minute. What of it was not used, or turned out to be more, is
corrected with the next exchange. Of two processes that both wait, the one that was given less lately is first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil

LEASE_S = 0.5
"""So long a lease of a rate may be used."""

_JITTER_S = 0.2
_WINDOW_S = 60.0
_KEPT_S = _WINDOW_S + LEASE_S + _JITTER_S
_BATCH_S = 0.25
"""A lease is for so many seconds of the rate, or for one request that needs more."""

_LATELY_S = 5.0
_DEMAND_S = 1.0
"""A process that has asked within so many seconds still wants something."""


@dataclass(slots=True)
class Lease:
    """So much of a rate, given to a process at a time."""

    number: int
    holder: str
    at: float
    amount: float


@dataclass(slots=True)
class RateBook:
    """One rate: at most its limit in any 60 s, evenly paced, over all processes."""

    next_at: float = 0.0
    numbers: int = 0
    leases: list[Lease] = field(default_factory=list[Lease])
    wanted_at: dict[str, float] = field(default_factory=dict[str, float])

    def give(self, holder: str, limit: float, wanted: float, head: float, now: float) -> Lease | None:
        """Lease up to `wanted` units; `head` is what the first in the queue needs. None: not now."""
        self.leases = [lease for lease in self.leases if lease.at > now - _KEPT_S]
        if wanted <= 0:
            self.wanted_at.pop(holder, None)
            return None
        self.wanted_at[holder] = now
        head = min(head, limit)
        left = limit - sum(lease.amount for lease in self.leases)
        amount = min(wanted, max(head, limit / _WINDOW_S * _BATCH_S), left)
        if amount < head or self.next_at > now or self._somebody_is_before(holder, limit, now):
            return None
        if head >= 1 and wanted == int(wanted):
            amount = float(int(amount))
        self.numbers += 1
        lease = Lease(self.numbers, holder, now, amount)
        self.leases.append(lease)
        self.next_at = max(self.next_at, now - _BATCH_S) + amount * _KEPT_S / limit
        return lease

    def correct(self, number: int, change: float, limit: float) -> None:
        """Of that lease so much more (or less) was used than was given."""
        for lease in self.leases:
            if lease.number == number:
                lease.amount = max(0.0, lease.amount + change)
                self.next_at += change * _KEPT_S / limit

    def _somebody_is_before(self, holder: str, limit: float, now: float) -> bool:
        waiting = [each for each, at in self.wanted_at.items() if each != holder and now - at < _DEMAND_S]
        since = now - max(_LATELY_S, 2 * (len(waiting) + 1) * _WINDOW_S / limit)  # where there are few, look further
        lately: dict[str, float] = {}
        for lease in self.leases:
            if lease.at > since:
                lately[lease.holder] = lately.get(lease.holder, 0.0) + lease.amount
        mine = lately.get(holder, 0.0)
        return any(lately.get(each, 0.0) < mine for each in waiting)


@dataclass(slots=True)
class PlaceBook:
    """Places in flight: at most the limit over all processes, each its fair share where they are scarce."""

    held: dict[str, int] = field(default_factory=dict[str, int])
    wanted: dict[str, int] = field(default_factory=dict[str, int])

    def give(self, holder: str, limit: int, wanted: int, in_use: int) -> int:
        """How many places this process may fill from now on; what it uses beyond that counts until it is free."""
        self.wanted[holder] = wanted
        others = sum(number for each, number in self.held.items() if each != holder)
        places = max(0, min(wanted, self._fair_share(holder, limit), limit - others))
        self.held[holder] = max(in_use, places)
        return places

    def _fair_share(self, holder: str, limit: int) -> int:
        """What is left to it when those who want less than an equal part have that, and the others an equal part."""
        left, wants = limit, sorted(self.wanted.items(), key=lambda each: each[1])
        for place, (each, wanted) in enumerate(wants):
            part = min(wanted, ceil(left / (len(wants) - place)))
            if each == holder:
                return max(1, part)
            left -= part
        return max(1, left)


@dataclass(slots=True)
class Books:
    """All shared limits of one file, by name."""

    rates: dict[str, RateBook] = field(default_factory=dict[str, RateBook])
    places: dict[str, PlaceBook] = field(default_factory=dict[str, PlaceBook])
    holders: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """The processes that have anything to do with them: pid, and what tells it from a later one with that pid."""

    def forget(self, gone: Collection[str]) -> None:
        """These processes are gone: their places are free. What they were given of rates may have been used."""
        for holder in gone:
            self.holders.pop(holder, None)
            for places in self.places.values():
                places.held.pop(holder, None)
                places.wanted.pop(holder, None)
            for rate in self.rates.values():
                rate.wanted_at.pop(holder, None)
