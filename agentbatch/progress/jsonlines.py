"""Progress for programs: one JSON object a second on stderr.

The fields: `time_s`, `total` (or null), `done`, `failed`, `items` by status, `in_flight`, `items_per_s`, `eta_s`,
`calls`, `retries`, `input_tokens`, `output_tokens`, `cost_usd` (null where a price is unknown), `requests_in_flight`
(null, as `in_flight`, of a run in another process),
`held_by`, `errors` by type, `agents` by name, on a cluster `nodes` by name, and `last`, which is true in the final
object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentbatch.files.plain_json import dump_line
from agentbatch.progress.outlet import Outlet
from agentbatch.progress.tally import AgentStats
from agentbatch.progress.ticker import Ticker
from agentbatch.progress.view import NodePressure, View, Watch


class JsonProgress:
    """Writes an object every `interval` seconds and a last one at the end."""

    def __init__(self, watch: Watch, outlet: Outlet, interval: float = 1.0) -> None:
        self._watch = watch
        self._outlet = outlet
        self._ticker = Ticker(self._draw, lambda: interval, interval)

    def start(self) -> None:
        """Begin."""
        self._ticker.start()

    def say(self, text: str) -> None:
        """Write `{"message": ...}`."""
        self._ticker.say(text)

    def stop(self) -> None:
        """Write the last object and end."""
        self._ticker.stop()

    def _draw(self, said: Sequence[str], last: bool) -> None:
        patience = 1.0 if last else 0.0
        if self._outlet.flush(patience):  # a reader that is behind gets fewer objects, never a growing backlog
            lines = [dump_line({"message": text}).decode() for text in said]
            self._outlet.write("".join([*lines, progress_json(self._watch.look(), last)]), patience)
        if last:
            self._outlet.close()


def progress_json(view: View, last: bool = False) -> str:
    """The run as one line of JSON."""
    counts = view.counts
    document = {
        "time_s": round(counts.elapsed_s, 3),
        "total": view.total,
        "done": counts.items_ended,
        "failed": counts.items_failed,
        "before": view.before,
        "items": counts.items,
        "in_flight": view.pressure.items_in_flight if view.pressure.known else None,
        "requests_in_flight": view.pressure.requests_in_flight if view.pressure.known else None,
        "items_per_s": round(view.items_per_s, 3),
        "eta_s": None if view.eta_s is None else round(view.eta_s, 1),
        "calls": counts.total("calls"),
        "retries": counts.total("retries"),
        "input_tokens": counts.total("input_tokens"),
        "output_tokens": counts.total("output_tokens"),
        "cost_usd": counts.cost_usd if counts.cost_known else None,
        "held_by": view.pressure.held_by,
        "errors": {group.type: group.count for group in counts.errors},
        "agents": {agent.name: _agent(agent) for agent in counts.agents},
        **({"nodes": {node.name: _node(node) for node in view.pressure.nodes}} if view.pressure.nodes else {}),
        "last": last,
    }
    return dump_line(document).decode()


def _node(node: NodePressure) -> dict[str, int]:
    return {"workers": node.workers, "lost": node.lost, "in_flight": node.in_flight, "done": node.done}


def _agent(agent: AgentStats) -> dict[str, Any]:
    return {
        "queued": agent.queued,
        "running": agent.running,
        "ok": agent.done,
        "failed": agent.failed,
        "skipped": agent.skipped,
        "calls": agent.calls,
        "retries": agent.retries,
        "p50_s": agent.p50_s,
        "p95_s": agent.p95_s,
    }
