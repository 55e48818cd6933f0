"""What it costs to lose nothing: the call journal and its syncs, committed lines a second, memory under a storm."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Run, agentbatch, run_process, serving
from outcome import Goal, Outcome, at_most, figure, middle, ratio, run_figures
from workload import write_inputs

from agentbatch.results.writer import LineWriter, ResultsFile

_STEPS = 4
_LATENCY_S = 0.1
_IN_FLIGHT = 200
_LINE = b'{"id":"1","output":"' + b"x" * 800 + b'"}\n'
_STORM_IN_FLIGHT = 1000
_STORM_BODY = 5_000_000


def measure_journal(items: int, runs: int, folder: Path) -> Outcome:
    """A workflow of several calls an item, with its results kept in a file, and sent to a pipe: no journal, no sync."""
    title = f"{items:,} items of {_STEPS} calls of {_LATENCY_S * 1e3:.0f} ms, {_IN_FLIGHT} in flight"
    outcome = Outcome("journal", title)
    inputs = write_inputs(folder, items)
    sides: dict[str, list[Run]] = {"kept": [], "not kept": []}
    for number in range(runs):
        for side, measured in sides.items():
            with serving(_LATENCY_S) as server:
                place = folder / f"{side}-{number}".replace(" ", "-")
                config = _write_chain(place, server.url)
                command = agentbatch("run", str(config), str(inputs), "--progress", "none", "--no-traces")
                if side == "not kept":
                    command = ["sh", "-c", f"{shlex.join([*command, '-o', '-'])} | cat > /dev/null"]
                measured.append(run_process(command, place, server))
    outcome.rows = [("median of runs", "wall s", "CPU s", "calls/s")]
    speeds: dict[str, float] = {}
    for side, each in sides.items():
        work = middle(run.work for run in each) or 0.0
        speeds[side] = items * _STEPS / work if work else 0.0
        cpu = middle(run.cpu for run in each)
        outcome.rows.append((side, figure(work), figure(cpu), figure(speeds[side], 0)))
    lost = 1 - (ratio(speeds["kept"], speeds["not kept"]) or 0.0)
    outcome.goals = [at_most("journal and sync <= 15 % of the throughput", 100 * lost, 15.0, " %")]
    outcome.figures = {"runs": {side: [run_figures(run) for run in each] for side, each in sides.items()}}
    return outcome


def measure_commits(lines: int, folder: Path) -> Outcome:
    """How many lines a second the writer has on disk, each of them put as a run puts it, by a loop that goes on."""
    outcome = Outcome("commits", f"{lines:,} lines of {len(_LINE)} bytes, synced in groups")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:  # a file in memory would sync nothing
        wall = asyncio.run(_commit(Path(place) / "x.results.jsonl", lines))
    speed = lines / wall
    outcome.goals = [Goal(">= 5,000 committed lines/s", f"{speed:,.0f}/s", speed >= 5_000)]
    outcome.figures = {"lines_per_s": speed}
    return outcome


async def _commit(path: Path, lines: int) -> float:
    writer = LineWriter(ResultsFile(path), lambda error: None)
    began = time.perf_counter()
    for number in range(lines):
        writer.put(_LINE)
        if number % 64 == 0:
            await asyncio.sleep(0)
            if writer.backlog > 2_000:
                await writer.drained(1_000)
    await writer.drained()
    wall = time.perf_counter() - began
    writer.close()
    return wall


def measure_storm(items: int, folder: Path) -> Outcome:
    """Half of the requests fail, the others are answered with 5 MB, a thousand at once: how large the process gets.

    With one retry a quarter of the items fail: more retries would be put off, for they are a bounded share of the
    traffic, and take minutes.
    """
    title = f"{items:,} calls, {_STORM_IN_FLIGHT:,} in flight, 50 % answered 500, the others with {_STORM_BODY:,} bytes"
    outcome = Outcome("storm", title)
    inputs = write_inputs(folder, items)
    with serving(_LATENCY_S, "--error-rates", "500=0.5", "--body-bytes", str(_STORM_BODY)) as server:
        config = _write_chain(folder / "storm", server.url, steps=1, in_flight=_STORM_IN_FLIGHT, retries=1)
        arguments = ("--progress", "none", "--no-traces", "-o", "storm.results.jsonl", "--json")
        run = run_process(agentbatch("run", str(config), str(inputs), *arguments), folder / "storm", server)
    lines = sum(1 for line in (folder / "storm" / "storm.results.jsonl").open("rb") if json.loads(line)["id"])
    (folder / "storm" / "storm.results.jsonl").unlink()
    outcome.rows = [
        ("", "wall s", "CPU s", "peak RSS MB", "items with a line", "exit code"),
        ("storm", figure(run.wall), figure(run.cpu), figure(run.rss_mb, 0), f"{lines:,}", str(run.exit_code)),
    ]
    outcome.goals = [at_most("bounded: peak RSS <= 1,000 MB", run.rss_mb, 1_000.0, " MB")]
    outcome.figures = {"run": run_figures(run), "lines": lines}
    return outcome


def _write_chain(folder: Path, url: str, *, steps: int = _STEPS, in_flight: int = _IN_FLIGHT, retries: int = 4) -> Path:
    """A config whose items ask so many times, one after the other, each with the last answer's beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    model = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "base_url": url,
        "api_key": "bench-key",
        "max_concurrency": in_flight,
        "retries": retries,
    }
    names = [f"step{number}" for number in range(1, steps + 1)]
    agents = {name: {"model": "m", "prompt": f"{name}: {{{{ input.product }}}}"} for name in names}
    path = folder / "config.yaml"
    path.write_text(json.dumps({"version": 1, "models": {"m": model}, "agents": agents, "workflow": names}))
    return path
