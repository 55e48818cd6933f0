"""Two results files of the same items, side by side: what broke, what was mended, what became slower or dearer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from agentbatch.record import record
from agentbatch.results.lines import CountedLines, parse_result
from agentbatch.results.stats import Sums
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.table import aligned

Change = Literal["broken", "mended", "status", "output", "slower", "faster", "dearer", "cheaper", "removed", "added"]

MARGIN: Final = 0.25
"""By how much, as a share, a time or a price must differ to be told."""
_LEAST_S: Final = 0.05
"""Seconds by which a time must differ at least: the shortest ones differ by chance."""
_SHOWN: Final = 20
"""Items shown of each change."""


@record
class ItemDiff:
    """One item that differs: in what, and its line in each file, where it has one."""

    item_id: str | int
    changes: tuple[Change, ...]
    a: Mapping[str, Any] | None
    b: Mapping[str, Any] | None


@dataclass(slots=True)
class DiffSums:
    """What both files come to, and how many items differ in what."""

    a: Sums = field(default_factory=Sums)
    b: Sums = field(default_factory=Sums)
    changes: dict[Change, int] = field(default_factory=dict[Change, int])
    same: int = 0

    def add(self, diff: ItemDiff) -> None:
        """Count one item, whether or not it differs."""
        if diff.a is not None:
            self.a.add(diff.a)
        if diff.b is not None:
            self.b.add(diff.b)
        self.same += not diff.changes
        for change in diff.changes:
            self.changes[change] = self.changes.get(change, 0) + 1

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"same": self.same, "changes": self.changes, "a": self.a.document(), "b": self.b.document()}


def compare(a: CountedLines, b: CountedLines, margin: float = MARGIN) -> Iterator[ItemDiff]:
    """Every item of both files, those that don't differ too: in the order of `b`, and last those that only `a` has."""
    for key, line in b.keyed():
        new = parse_result(line)
        if new is not None:
            old = a.of(key)
            yield ItemDiff(new["id"], ("added",) if old is None else changes_of(old, new, margin), old, new)
    for key, line in a.keyed():
        if key not in b and (old := parse_result(line)) is not None:
            yield ItemDiff(old["id"], ("removed",), old, None)


def changes_of(old: Mapping[str, Any], new: Mapping[str, Any], margin: float = MARGIN) -> tuple[Change, ...]:
    """In what two results of one item differ. Times and prices are compared where both succeeded."""
    before, after = _succeeded(old), _succeeded(new)
    changes: list[Change] = []
    if before != after:
        changes.append("mended" if after else "broken")
    elif old["status"] != new["status"]:
        changes.append("status")
    if before and after:
        if old.get("output") != new.get("output"):
            changes.append("output")
        times = old.get("duration_s") or 0.0, new.get("duration_s") or 0.0
        if abs(times[1] - times[0]) >= _LEAST_S:
            changes += _more_or_less(*times, margin, "slower", "faster")
        changes += _more_or_less(old.get("cost_usd"), new.get("cost_usd"), margin, "dearer", "cheaper")
    return tuple(changes)


def _succeeded(line: Mapping[str, Any]) -> bool:
    return line["status"] in ("ok", "skipped")


def _more_or_less(old: float | None, new: float | None, margin: float, more: Change, less: Change) -> Iterator[Change]:
    if old is not None and new is not None and abs(new - old) > margin * min(old, new):
        yield more if new > old else less


def diff_document(diff: ItemDiff) -> dict[str, Any]:
    """What `--json` prints of an item that differs."""
    return {"id": diff.item_id, "changes": list(diff.changes), "a": _short(diff.a), "b": _short(diff.b)}


def _short(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {name: line.get(name) for name in ("status", "output", "error", "duration_s", "cost_usd", "trace_id")}


_HEADS: Final[dict[Change, str]] = {
    "broken": "failed in B, succeeded in A",
    "mended": "succeeded in B, failed in A",
    "status": "another status",
    "output": "another output",
    "slower": "slower in B",
    "faster": "faster in B",
    "dearer": "dearer in B",
    "cheaper": "cheaper in B",
    "removed": "only in A",
    "added": "only in B",
}


@dataclass(slots=True)
class DiffReport:
    """The differences for a person: counts, and the first items of each change."""

    sums: DiffSums = field(default_factory=DiffSums)
    examples: dict[Change, list[str]] = field(default_factory=dict[Change, list[str]])

    @classmethod
    def of(cls, diffs: Iterable[ItemDiff]) -> DiffReport:
        """The report of all items."""
        report = cls()
        for diff in diffs:
            report.sums.add(diff)
            for change in diff.changes:
                shown = report.examples.setdefault(change, [])
                if len(shown) < _SHOWN:
                    shown.append(_example(change, diff))
        return report

    def render(self) -> str:
        """Ends in a newline."""
        blocks = ["\n".join(_totals(self.sums))]
        for change, head in _HEADS.items():
            if count := self.sums.changes.get(change, 0):
                shown = self.examples[change]
                lines = [f"{head}: {figures.count(count)}", *(f"  {line}" for line in shown)]
                if count > len(shown):
                    lines.append(f"  and {figures.count(count - len(shown))} more: --json lists all")
                blocks.append("\n".join(lines))
        if not self.sums.changes:
            blocks.append("No item differs.")
        return "\n\n".join(blocks) + "\n"


def _totals(sums: DiffSums) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "items", "ok", "failed", "p50", "p95", "tokens in", "out", "cost")]
    for name, each in (("A", sums.a), ("B", sums.b)):
        worked = each.worked.document()
        fine = each.statuses["ok"] + each.statuses["skipped"]
        total = sum(each.statuses.values())
        rows.append(
            (
                name,
                figures.count(total),
                figures.count(fine),
                figures.count(total - fine),
                figures.seconds(worked["p50"]),
                figures.seconds(worked["p95"]),
                figures.short_count(each.input_tokens),
                figures.short_count(each.output_tokens),
                figures.money(None if each.unpriced else each.cost_usd),
            )
        )
    return aligned(rows)


def _example(change: Change, diff: ItemDiff) -> str:
    return f"{visible(str(diff.item_id), 40)}  {_detail(change, diff.a or {}, diff.b or {})}".rstrip()


def _detail(change: Change, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    if change in ("broken", "mended"):
        error: Mapping[str, Any] = (b if change == "broken" else a).get("error") or {}
        return visible(f"{error.get('type')}: {error.get('message')}", 100)
    if change in ("slower", "faster"):
        return f"{figures.seconds(a.get('duration_s'))} -> {figures.seconds(b.get('duration_s'))}"
    if change in ("dearer", "cheaper"):
        return f"{figures.money(a.get('cost_usd'))} -> {figures.money(b.get('cost_usd'))}"
    if change == "output":
        return f"{_outline(a.get('output'), b.get('output'))} -> {_outline(b.get('output'), a.get('output'))}"
    return f"{a.get('status')} -> {b.get('status')}" if change == "status" else ""


def _outline(value: Any, other: Any) -> str:
    """The part of a text at which it begins to differ from the other."""
    text, compared = str(value), str(other)
    at = next((at for at, pair in enumerate(zip(text, compared, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, at - 10)
    return ("..." if start else "") + visible(text[start:], 40)
