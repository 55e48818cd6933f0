"""What it costs that agents act: tools of one turn at once, many turns, and programs as agents.

- `tools-turn`: five tools of 0.20 to 0.30 s in one turn, async ones and sync ones.
- `tools-react`: items that call four tools in each of three turns before they answer, beside a bare loop of such waits.
- `commands`: items whose agent is `/bin/true`, 16 at once, beside GNU parallel, or `xargs -P` where that is missing.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from measure import HERE, Run, agentbatch, run_process
from outcome import Goal, Outcome, at_most, figure, middle, ratio, run_figures

_TOOLS = """\
import asyncio
import time

DELAYS = (0.20, 0.225, 0.25, 0.275, 0.30)

async def later(which: int) -> str:
    await asyncio.sleep(DELAYS[which])
    return f"async {which}"

def sleep(which: int) -> str:
    time.sleep(DELAYS[which])
    return f"sync {which}"

async def short(which: int) -> str:
    await asyncio.sleep(0.02)
    return f"short {which}"
"""

_SLOWEST_S = 0.30


def _config(tool: str, calls: int, rounds: int, latency: str, in_flight: int) -> str:
    asked = "\n".join(f"      - {{name: act, arguments: {{which: {n}}}}}" for n in range(calls))
    return f"""\
version: 1
models:
  bench:
    provider: mock
    latency: {latency}
    max_concurrency: {in_flight}
    tool_rounds: {rounds}
    reply: done
    tool_calls:
{asked}
tools:
  act: {{function: "bench_tools:{tool}"}}
agents:
  worker: {{model: bench, prompt: "Do {{{{ input.n }}}}.", tools: [act]}}
limits: {{max_concurrency: {in_flight}}}
"""


def measure_tools_turn(runs: int, folder: Path) -> Outcome:
    """The turn: from the beginning of the agent's work to its end, on a model that answers at once."""
    outcome = Outcome("tools-turn", "five tools of 0.20 to 0.30 s in one turn (one after another 1.25 s)")
    outcome.rows = [("median of runs", "turn s", "/ slowest")]
    for kind, tool in (("async", "later"), ("sync", "sleep")):
        turns: list[float] = []
        for _ in range(runs):
            _run(_config(tool, 5, 1, "0s", 8), 1, folder)
            (line,) = (folder / "acting" / "r.jsonl").read_text("utf-8").splitlines()
            turns.append(json.loads(line)["duration_s"])
        turn = middle(turns) or 0.0
        outcome.rows.append((kind, figure(turn, 4), figure(turn / _SLOWEST_S, 3)))
        outcome.goals.append(at_most(f"{kind}: <= 1.05 of the slowest tool", turn / _SLOWEST_S, 1.05))
        outcome.figures[kind] = turns
    return outcome


def measure_tools_react(items: int, runs: int, folder: Path) -> Outcome:
    """Work: the wall time less that of a run of one item, which has its own latency in it."""
    one_item = 4 * 0.05 + 3 * 0.02
    ideal = items * one_item / 200
    outcome = Outcome(
        "tools-react",
        f"{items:,} items of 3 turns with 4 tools (20 ms) and an answer, model 50 ms, 200 in flight "
        f"(ideal {ideal:.2f} s)",
    )
    config = _config("short", 4, 3, "50ms", 200)
    all_ = [_run(config, items, folder) for _ in range(runs)]
    one = [_run(config, 1, folder) for _ in range(runs)]
    bare = [
        run_process([sys.executable, str(HERE / "bare_turns.py"), str(items)], folder / "bare") for _ in range(runs)
    ]
    work = (middle(run.wall for run in all_) or 0.0) - (middle(run.wall for run in one) or 0.0) + one_item
    turns = items * 4
    ours = ((middle(run.cpu for run in all_) or 0.0) - (middle(run.cpu for run in one) or 0.0)) / turns * 1e6
    theirs = middle(float(run.output.split()[1]) for run in bare) or 0.0
    outcome.rows = [
        ("median of runs", "work s", "us CPU/turn"),
        ("agentbatch", figure(work), figure(ours, 0)),
        ("bare loop", figure(middle(float(run.output.split()[0]) for run in bare)), figure(theirs, 0)),
    ]
    outcome.goals = [
        at_most("work <= 1.3 of ideal", work / ideal, 1.3),
        Goal("CPU of a turn beside a bare loop's", f"{ours:.0f} us to {theirs:.0f} us", None),
    ]
    outcome.notes = _failures(all_)
    outcome.figures = {"runs": [run_figures(run) for run in all_], "us_per_turn": ours, "bare_us_per_turn": theirs}
    return outcome


def measure_commands(items: int, runs: int, folder: Path) -> Outcome:
    """Whole processes with their children: wall time and CPU, each side in turn."""
    outcome = Outcome("commands", f"{items:,} agents that run /bin/true, 16 at once")
    config = """\
version: 1
agents: {worker: {kind: command, command: [/bin/true], max_concurrency: 16}}
limits: {max_concurrency: 16}
"""
    script, name = _other_side(items)
    ours: list[Run] = []
    theirs: list[Run] = []
    for _ in range(runs):
        ours.append(_run(config, items, folder))
        theirs.append(run_process(["sh", "-c", script], folder / "other"))
    walls = middle(run.wall for run in ours), middle(run.wall for run in theirs)
    outcome.rows = [("median of runs", "wall s", "ms each", "CPU s")]
    for side, each in (("agentbatch", ours), (name, theirs)):
        wall = middle(run.wall for run in each) or 0.0
        outcome.rows.append((side, figure(wall), figure(wall / items * 1e3), figure(middle(run.cpu for run in each))))
    outcome.goals = [at_most(f"wall <= 1.5 of {name}'s", ratio(*walls), 1.5)]
    outcome.notes = _failures(ours)
    outcome.figures = {"ours": [run_figures(run) for run in ours], name: [run_figures(run) for run in theirs]}
    return outcome


def _other_side(items: int) -> tuple[str, str]:
    if shutil.which("parallel") is not None:
        return f"seq {items} | parallel -j 16 -n 1 /bin/true", "GNU parallel"
    return f"seq {items} | xargs -P 16 -n 1 /bin/true", "xargs -P"


def _run(config: str, items: int, folder: Path) -> Run:
    shutil.rmtree(folder / "acting", ignore_errors=True)
    (folder / "acting").mkdir(parents=True)
    (folder / "acting" / "config.yaml").write_text(config)
    (folder / "acting" / "bench_tools.py").write_text(_TOOLS)
    (folder / "acting" / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(items)))
    command = agentbatch("run", "config.yaml", "in.jsonl", "-o", "r.jsonl", "--no-traces", "--progress", "none")
    return run_process(command, folder / "acting")


def _failures(runs: list[Run]) -> list[str]:
    return [f"a run ended with exit code {run.exit_code}: {run.output[-300:]}" for run in runs if run.exit_code]
