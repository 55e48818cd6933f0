"""How fast the benchmark's own server is: it must never be what a client waits for."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import HERE, run_process, serving
from outcome import Goal, Outcome

_ENOUGH = 30_000


def measure_server(count: int, runs: int, folder: Path) -> Outcome:
    """Ask without latency from a hand-written client."""
    outcome = Outcome("server", f"{count:,} calls of 0 ms from a hand-written client, 100 in flight")
    with serving(0.0) as server:
        options = ["--port", str(server.port), "--count", str(count)]
        measured = [
            run_process([sys.executable, str(HERE / "hammer.py"), *options], folder / "run") for _ in range(runs)
        ]
    speeds = [int(run.output) for run in measured]
    outcome.goals = [
        Goal(f">= {_ENOUGH:,} calls/s", ", ".join(f"{speed:,}" for speed in speeds), max(speeds) >= _ENOUGH)
    ]
    outcome.figures = {"calls_per_s": speeds}
    return outcome
