"""A million inputs on the mock provider: speed, memory beside that of few inputs, and what a resume costs."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import Run, agentbatch, run_process
from outcome import Goal, Outcome, at_most, figure, ratio, run_figures
from workload import write_inputs, write_mock_config

_FEW = 10_000
_LEFT = 1_000


def measure_million(count: int, folder: Path) -> Outcome:
    """One run each: few inputs, all inputs, the finished run again, and the run with its last results cut off."""
    few, left = min(_FEW, count), min(_LEFT, count // 2)
    outcome = Outcome("million", f"{count:,} inputs on the mock provider at zero latency")
    runs = {f"{few:,} inputs": _fresh(few, folder / "few")}
    name = f"{count:,} inputs"
    runs[name] = whole = _fresh(count, folder / "all")
    runs["resume, all done"] = again = _again(count, folder / "all")
    results = folder / "all" / f"inputs-{count}.results.jsonl"
    if whole.exit_code:
        outcome.notes = [f"exit code {whole.exit_code}: ...{whole.output[-400:]}"]
        return outcome
    cut_last_lines(results, left)
    with watching_growth(results) as growth:
        runs[f"resume, {left:,} left"] = _again(count, folder / "all")
    outcome.rows = [("run", "wall s", "CPU s", "RSS MB", "exit code"), *map(_row, runs.items())]
    wide = ratio(whole.rss_mb, runs[f"{few:,} inputs"].rss_mb)
    speed = count / whole.wall
    outcome.goals = [
        Goal("items/s, as many as may be", f"{speed:,.0f}/s, {whole.cpu / count * 1e6:.0f} us CPU each", None),
        at_most(f"RSS flat: <= 1.5 x that of {few:,} inputs", wide, 1.5, " x"),
        Goal("resume over a finished file: seconds to exit", f"{again.wall:.2f} s", None),
        Goal(f"resume with {left:,} left: seconds to the first new result", f"{figure(growth.seconds)} s", None),
    ]
    outcome.notes = [
        f"{run_name}: exit code {run.exit_code}: ...{run.output[-400:]}"
        for run_name, run in runs.items()
        if run.exit_code
    ]
    outcome.figures = {
        "runs": {run_name: run_figures(run) for run_name, run in runs.items()},
        "items_per_s": speed,
        "first_new_result_s": growth.seconds,
        "results_bytes": results.stat().st_size,
    }
    return outcome


def _fresh(count: int, folder: Path) -> Run:
    shutil.rmtree(folder, ignore_errors=True)
    write_mock_config(folder)
    write_inputs(folder, count)
    return _again(count, folder)


def _again(count: int, folder: Path) -> Run:
    return run_process(agentbatch("run", "config.yaml", f"inputs-{count}.jsonl"), folder)


def _row(named: tuple[str, Run]) -> tuple[str, ...]:
    name, run = named
    return (name, figure(run.wall), figure(run.cpu), figure(run.rss_mb, 0), str(run.exit_code))


def cut_last_lines(path: Path, count: int) -> None:
    """Cut so many lines off the end of a file, without reading the rest of it."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        missing, at = count + 1, end
        while at > 0 and missing > 0:
            size = min(1 << 16, at)
            at -= size
            file.seek(at)
            block = file.read(size)
            while missing > 0 and (found := block.rfind(b"\n")) >= 0:
                block = block[:found]
                missing -= 1
                end = at + found + 1
        file.truncate(end if missing == 0 else 0)


@dataclass(slots=True)
class Growth:
    """Seconds until the file first grew; None until then."""

    seconds: float | None = None


@contextmanager
def watching_growth(path: Path) -> Iterator[Growth]:
    """See when a file first grows, looking every 5 ms."""
    growth, size, began = Growth(), path.stat().st_size, time.perf_counter()
    over = threading.Event()

    def look() -> None:
        while growth.seconds is None and not over.wait(0.005):
            if path.stat().st_size > size:
                growth.seconds = time.perf_counter() - began

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield growth
    finally:
        over.set()
        watcher.join()
