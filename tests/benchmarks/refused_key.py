"""A refused key: how soon the run ends, and how many requests it spent finding out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from calls import our_command
from measure import Run, run_process, serving
from outcome import Goal, Outcome, at_most, figure, middle, run_figures
from workload import write_inputs

_IN_FLIGHT = 200
_STOPPED = 3


def measure_refused_key(count: int, runs: int, folder: Path) -> Outcome:
    """A server that answers 401 after 100 ms, and as many items."""
    outcome = Outcome("wrong-key", f"{count:,} items, key refused after 100 ms, {_IN_FLIGHT} in flight")
    inputs = write_inputs(folder, count)
    measured: list[Run] = []
    lines: list[int] = []
    for _ in range(runs):
        run, written = _run(inputs, folder / "run")
        measured.append(run)
        lines.append(written)
    outcome.rows = [("run", "wall s", "exit code", "requests", "result lines"), *_rows(measured, lines)]
    requests = max(int(run.stats["requests"]) for run in measured)
    codes = sorted({run.exit_code for run in measured})
    outcome.goals = [
        Goal("exit code 3", ", ".join(map(str, codes)), codes == [_STOPPED]),
        Goal(f"at most {_IN_FLIGHT} requests", str(requests), requests <= _IN_FLIGHT),
        Goal("no result lines", str(max(lines)), max(lines) == 0),
        at_most("ends within 2 s", middle(run.wall for run in measured), 2.0, " s"),
    ]
    outcome.figures = {"runs": [run_figures(run) for run in measured], "result_lines": lines}
    return outcome


def _run(inputs: Path, folder: Path) -> tuple[Run, int]:
    shutil.rmtree(folder, ignore_errors=True)
    with serving(0.1, "--wrong-key-status", "401") as server:
        run = run_process(our_command(server, _IN_FLIGHT, inputs, folder, "a-wrong-key"), folder, server)
    results = folder / f"{inputs.stem}.results.jsonl"
    return run, len(results.read_bytes().splitlines()) if results.exists() else 0


def _rows(runs: Sequence[Run], lines: Sequence[int]) -> list[Sequence[str]]:
    return [
        (str(n), figure(run.wall), str(run.exit_code), str(run.stats["requests"]), str(written))
        for n, (run, written) in enumerate(zip(runs, lines, strict=True), 1)
    ]
