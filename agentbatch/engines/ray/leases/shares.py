"""So many places (or dollars) shared by need, so that all together never have more.

What a worker was ever told it may use counts as its own until its own report says that it knows of less: only then can
another have the difference. The division is max-min fair: nobody gets less than an equal share so that somebody else
gets more, and what nobody needs is spread evenly, so that a need that comes up is met at once.

Dollars are used up, and a request begins only where all that it could cost is there: what is in use stays where it is,
then one request of each worker is paid for as far as the rest goes, and only what is left then is divided. Equal shares
near the end would all be smaller than a request, and everybody would wait for ever with money left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentbatch.engines.ray.leases.loans import Holding

ROUNDING = 1e-9
"""What sums of dollars may be off by."""


@dataclass(slots=True)
class _Holder:
    committed: float = 0.0
    wanted: float = 0.0
    in_use: float = 0.0
    least: float | None = None


class Shares:
    """`total` of something. With `whole`, only whole numbers are lent."""

    def __init__(self, total: float, *, whole: bool = True) -> None:
        self.total = total
        self._whole = whole
        self._holders: dict[str, _Holder] = {}

    def report(self, worker: str, holding: Holding) -> float:
        """What the worker may use from now on, given what it says it has."""
        holder = self._holders.setdefault(worker, _Holder())
        holder.committed = max(holding.ceiling, holding.in_use)
        holder.wanted, holder.in_use, holder.least = holding.wanted, holding.in_use, holding.least
        target = self._targets()[worker]
        if target > holder.committed:
            free = self.total - sum(each.committed for each in self._holders.values())
            if target > holder.committed + max(0.0, free) + ROUNDING:
                target = holder.committed + max(0.0, free)
            if self._whole:
                target = float(int(target + 1e-9))
            holder.committed = max(holder.committed, target)
        return target

    def drop(self, worker: str, keep: float = 0.0) -> None:
        """The worker is no more; `keep` of what it had is gone with it."""
        if self._holders.pop(worker, None) is not None:
            self.total -= keep

    def _targets(self) -> Mapping[str, float]:
        targets = dict.fromkeys(self._holders, 0.0) if self._whole else self._paid_for()
        left = self.total - sum(targets.values())
        if abs(left) < ROUNDING:
            left = 0.0
        lacking = {name: max(0.0, self._holders[name].wanted - targets[name]) for name in targets}
        for at, name in enumerate(sorted(lacking, key=lacking.__getitem__)):
            more = min(lacking[name], left / (len(lacking) - at))
            targets[name] += more
            left -= more
        for name in targets:
            targets[name] += left / len(targets)
        return self._in_whole(targets) if self._whole else targets

    def _paid_for(self) -> dict[str, float]:
        """What each has in use, with one more request of as many as there is enough for, the least served first."""
        holders = self._holders
        paid = {name: holder.in_use for name, holder in holders.items()}
        left = self.total - sum(paid.values())
        for name in sorted(paid, key=paid.__getitem__):
            least = holders[name].least
            if least is not None and least <= left + ROUNDING:
                paid[name] += least
                left -= least
        return paid

    def _in_whole(self, targets: dict[str, float]) -> dict[str, float]:
        """Whole numbers, with the places that rounding leaves given one by one, in the order of the workers."""
        rounded = {name: float(int(target + 1e-9)) for name, target in targets.items()}
        left = int(self.total - sum(rounded.values()) + 1e-9)
        hungry = sorted(rounded, key=lambda name: (rounded[name] >= self._holders[name].wanted, rounded[name], name))
        for name in hungry[: max(0, left)]:
            rounded[name] += 1
        return rounded
