"""Two runs side by side: the same items, an earlier and a later time."""

from __future__ import annotations

from collections.abc import Sequence

from agentbatch.record import record
from agentbatch.report.item_book import ItemBook
from agentbatch.report.result_lines import SUCCESSES

MOST_LISTED = 500
"""Ids named per list; the counts are of all."""


@record
class Listed:
    """Items that have something in common: how many, and the ids of the first."""

    count: int = 0
    ids: Sequence[str] = ()


@record
class Comparison:
    """How the items of one run differ from those of another, item by item.

    Attributes:
        common: items that both have.
        broken: succeeded in the other run, failed in this one.
        mended: failed in the other run, succeeded in this one.
        changed: succeeded in both, with different outputs; `same`: with the same.
        added: only this run has them; `missing`: only the other.
    """

    common: int
    same: int
    broken: Listed
    mended: Listed
    changed: Listed
    added: Listed
    missing: Listed


def compare_items(this: ItemBook, other: ItemBook) -> Comparison:
    """Compare the last lines of all items."""
    lists = {name: _List() for name in ("broken", "mended", "changed", "added")}
    common = same = 0
    for slot, item_id in enumerate(this.ids):
        found = other.slot_of(item_id)
        if found is None:
            lists["added"].add(item_id)
            continue
        common += 1
        what = _difference(this, slot, other, found)
        same += what == "same"
        if what in lists:
            lists[what].add(item_id)
    missing = _List()
    for item_id in other.ids:
        if this.slot_of(item_id) is None:
            missing.add(item_id)
    return Comparison(
        common=common,
        same=same,
        broken=lists["broken"].listed(),
        mended=lists["mended"].listed(),
        changed=lists["changed"].listed(),
        added=lists["added"].listed(),
        missing=missing.listed(),
    )


class _List:
    def __init__(self) -> None:
        self._count = 0
        self._ids: list[str] = []

    def add(self, item_id: str) -> None:
        self._count += 1
        if len(self._ids) < MOST_LISTED:
            self._ids.append(item_id)

    def listed(self) -> Listed:
        return Listed(self._count, self._ids)


def _difference(this: ItemBook, slot: int, other: ItemBook, found: int) -> str:
    is_fine, was_fine = this.status(slot) in SUCCESSES, other.status(found) in SUCCESSES
    if is_fine != was_fine:
        return "mended" if is_fine else "broken"
    if not is_fine:
        return "still failed"
    return "same" if this.digests[slot] == other.digests[found] else "changed"
