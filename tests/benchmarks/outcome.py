"""What a benchmark found: rows of figures, and goals beside what was measured; printed as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from measure import Run


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach, and the figure measured."""

    text: str
    measured: str
    met: bool | None


@dataclass(slots=True)
class Outcome:
    """Everything one scenario has to say. `figures` is for the JSON file."""

    name: str
    title: str
    rows: list[Sequence[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As printed."""
        lines = [f"== {self.name}: {self.title}", *_aligned(self.rows)]
        lines += [f"   goal: {goal.text}; measured: {goal.measured}{_mark(goal.met)}" for goal in self.goals]
        lines += [f"   note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """As kept by `--json`."""
        goals = [{"goal": goal.text, "measured": goal.measured, "met": goal.met} for goal in self.goals]
        return {"name": self.name, "title": self.title, "goals": goals, "notes": self.notes, **self.figures}


def at_most(text: str, measured: float | None, bound: float, unit: str = "") -> Goal:
    """The goal of a figure that should be small."""
    if measured is None:
        return Goal(text, "nothing", None)
    return Goal(text, f"{measured:.3g}{unit}", measured <= bound)


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Ours divided by theirs."""
    return None if ours is None or not theirs else ours / theirs


def figure(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def run_figures(run: Run) -> dict[str, Any]:
    """One run, for the JSON file."""
    return {
        "wall_s": run.wall,
        "cpu_s": run.cpu,
        "rss_mb": run.rss_mb,
        "exit_code": run.exit_code,
        "first_request_s": run.first_request,
        "work_s": run.work,
        "noise": run.noise,
        "server": dict(run.stats),
    }


def _mark(met: bool | None) -> str:
    return "" if met is None else "  [met]" if met else "  [MISSED]"


def _aligned(rows: list[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(max(map(len, rows)))]
    return [
        "   "
        + "  ".join(
            word.ljust(width) if n == 0 else word.rjust(width)
            for n, (word, width) in enumerate(zip(row, widths, strict=False))
        )
        for row in rows
    ]
