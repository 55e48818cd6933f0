"""What a results file comes to: counts, latencies, tokens, cost, errors, for the whole and for each agent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from agentbatch.progress.histogram import LatencyHistogram
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.table import aligned

_PERCENTILES: Final = (0.5, 0.9, 0.95, 0.99)
_ITERATION: Final = re.compile(r"(\[\d+\]|#\d+)+$")
"""What a path's last part has beyond the step's name."""


class Latencies:
    """Durations in seconds, as percentiles."""

    def __init__(self) -> None:
        self._histogram = LatencyHistogram()
        self.most: float | None = None

    def add(self, seconds: float) -> None:
        """Count one."""
        self._histogram.add(seconds)
        self.most = seconds if self.most is None else max(self.most, seconds)

    def document(self) -> dict[str, float | None]:
        """`p50` and so on, and the longest as `max`; null without any."""
        found = self._histogram.percentiles(*_PERCENTILES)
        named = {f"p{share * 100:g}": value for share, value in zip(_PERCENTILES, found, strict=True)}
        return {name: self._rounded(value) for name, value in {**named, "max": self.most}.items()}

    def _rounded(self, value: float | None) -> float | None:
        """A percentile is the middle of a bucket, which may lie beyond the longest."""
        return None if value is None or self.most is None else round(min(value, self.most), 6)


@dataclass(slots=True)
class Sums:
    """What items, or stays in one agent, come to."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    worked: Latencies = field(default_factory=Latencies)
    queued: Latencies = field(default_factory=Latencies)
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def add(self, fields: Mapping[str, Any]) -> None:
        """Count a result line, or an agent's part of one."""
        status = str(fields.get("status"))
        self.statuses[status] += 1
        if status != "skipped":
            self.worked.add(fields.get("duration_s") or 0.0)
            self.queued.add(fields.get("queued_s") or 0.0)
        usage: Mapping[str, Any] = fields.get("usage") or {}
        self.requests += usage.get("requests") or 0
        self.input_tokens += usage.get("input_tokens") or 0
        self.output_tokens += usage.get("output_tokens") or 0
        cost = fields.get("cost_usd")
        self.cost_usd += cost or 0.0
        self.unpriced += cost is None

    def document(self) -> dict[str, Any]:
        """For `--json`. A cost of which a part is unknown is null, and `known_cost_usd` what is known."""
        return {
            "items": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "worked_s": self.worked.document(),
            "queued_s": self.queued.document(),
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": None if self.unpriced else round(self.cost_usd, 10),
            "known_cost_usd": round(self.cost_usd, 10),
        }


@dataclass(slots=True)
class ErrorExample:
    """The failed items of one type, with the first as the example."""

    count: int
    item_id: str
    agent: str | None
    message: str


class ResultStats:
    """Sums of result lines. Its memory grows with the agents and the error types, not with the items."""

    def __init__(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        self.items = Sums()
        self.agents: dict[str, Sums] = {}
        self.errors: dict[str, ErrorExample] = {}
        for line in lines:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        """Count one line."""
        self.items.add(line)
        error: Mapping[str, Any] | None = line.get("error")
        if error is not None and line.get("status") not in ("ok", "skipped"):
            self._add_error(line, error)
        for path, step in cast("Mapping[str, Mapping[str, Any]]", line.get("agents") or {}).items():
            if "kind" not in step:  # a group's figures are those of its members
                self.agents.setdefault(agent_of(path), Sums()).add(step)

    def _add_error(self, line: Mapping[str, Any], error: Mapping[str, Any]) -> None:
        kind = str(error.get("type"))
        known = self.errors.get(kind)
        if known is None:
            self.errors[kind] = ErrorExample(1, str(line["id"]), error.get("agent"), str(error.get("message")))
        else:
            known.count += 1

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        errors = sorted(self.errors.items(), key=lambda one: -one[1].count)
        return {
            **self.items.document(),
            "errors": [
                {
                    "type": kind,
                    "count": one.count,
                    "example": {"id": one.item_id, "agent": one.agent, "message": one.message},
                }
                for kind, one in errors
            ],
            "agents": {name: sums.document() for name, sums in self.agents.items()},
        }


def agent_of(path: str) -> str:
    """The agent's name in a step's path: `critic` of `refine[2].critic`, `writer` of `writer[3]`."""
    return _ITERATION.sub("", path.rpartition(".")[2])


def render_stats(stats: ResultStats, superseded: int = 0) -> str:
    """The figures for a person, in 80 columns or so. Ends in a newline."""
    blocks = [_facts(stats.items, superseded), _latencies(stats.items), _agents(stats), _errors(stats)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _facts(items: Sums, superseded: int) -> list[str]:
    counts = ", ".join(
        f"{figures.count(n)} {visible(name, 20)}" for name, n in sorted(items.statuses.items(), key=_rank)
    )
    facts = [
        ("items", counts or "none"),
        ("tokens", f"{figures.count(items.input_tokens)} in, {figures.count(items.output_tokens)} out"),
        ("requests", figures.count(items.requests)),
        ("cost", _cost(items)),
    ]
    if superseded:
        facts.append(("note", f"superseded by a later line of the same item: {figures.counted(superseded, 'line')}"))
    return [f"{name:<10}{value}" for name, value in facts]


def _rank(status: tuple[str, int]) -> tuple[bool, str]:
    return status[0] != "ok", status[0]


def _cost(sums: Sums) -> str:
    if not sums.unpriced:
        return figures.money(sums.cost_usd)
    return f"{figures.money(sums.cost_usd)} + ? ({figures.count(sums.unpriced)} without a known price)"


def _latencies(items: Sums) -> list[str]:
    rows: list[tuple[str, ...]] = [("seconds", "p50", "p90", "p95", "p99", "max")]
    for name, latencies in (("worked", items.worked), ("queued", items.queued)):
        rows.append((name, *(figures.seconds(value) for value in latencies.document().values())))
    return aligned(rows)


def _agents(stats: ResultStats) -> list[str]:
    if not stats.agents:
        return []
    rows: list[tuple[str, ...]] = [("agent", "ok", "failed", "skipped", "p50", "p95", "tokens in", "out", "cost")]
    rows += [_agent_row(name, sums) for name, sums in stats.agents.items()]
    return aligned(rows)


def _agent_row(name: str, sums: Sums) -> tuple[str, ...]:
    worked = sums.worked.document()
    ok, skipped = sums.statuses["ok"], sums.statuses["skipped"]
    return (
        visible(name, 24),
        figures.count(ok),
        figures.count(sum(sums.statuses.values()) - ok - skipped),
        figures.count(skipped),
        figures.seconds(worked["p50"]),
        figures.seconds(worked["p95"]),
        figures.short_count(sums.input_tokens),
        figures.short_count(sums.output_tokens),
        figures.money(None if sums.unpriced else sums.cost_usd),
    )


def _errors(stats: ResultStats) -> list[str]:
    errors = sorted(stats.errors.items(), key=lambda one: -one[1].count)
    lines: list[str] = []
    for kind, one in errors:
        agent = f", {visible(one.agent, 40)}" if one.agent else ""
        lines.append(f"{figures.count(one.count):>7}  {visible(kind, 40)}")
        lines.append(f"{'':>7}  item {visible(one.item_id, 40)}{agent}: {visible(one.message, 300)}")
    return lines
