"""Calls of a fixed latency: the whole pipeline against the raw loop, in turn, on the same inputs and server."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from measure import HERE, Run, Server, agentbatch, run_process, serving
from outcome import Goal, Outcome, at_most, figure, middle, ratio, run_figures
from workload import write_config, write_inputs

OURS, RAW, RAW_UVLOOP = "agentbatch", "raw aiohttp", "raw aiohttp, uvloop"
STALL = r"longest stall of the event loop: \d+ ms, of CPU (\d+) ms"
Goals = Callable[["Calls", Mapping[str, Sequence[Run]]], list[Goal]]


@dataclass(frozen=True, slots=True)
class Calls:
    """So many calls of `latency` seconds at so many in flight; `quick` is the smaller number of calls. With a heartbeat
    ours says how long its event loop was away at worst."""

    count: int
    latency: float
    in_flight: int
    quick: int
    goals: Goals
    heartbeat: bool = False

    @property
    def ideal(self) -> float:
        """Seconds if nothing but the server's latency took time."""
        return -(-self.count // self.in_flight) * self.latency


def measure_calls(name: str, calls: Calls, runs: int, folder: Path, extra: Mapping[str, Sequence[str]]) -> Outcome:
    """Alternate between the sides; `extra` are further commands by name, with {inputs}, {url} and {in_flight}."""
    title = f"{calls.count:,} calls of {calls.latency * 1000:g} ms at {calls.in_flight:,} in flight"
    outcome = Outcome(name, f"{title} (ideal {calls.ideal:.2f} s)")
    sides = {OURS: None, RAW: _raw("--no-uvloop"), RAW_UVLOOP: _raw("--uvloop"), **extra}
    measured: dict[str, list[Run]] = {side: [] for side in sides}
    inputs = write_inputs(folder, calls.count)
    for _ in range(runs):
        for side, command in sides.items():
            measured[side].append(_run(calls, command, inputs, folder / "run"))
    outcome.rows = _table(measured)
    outcome.notes = _failures(calls, measured)
    if not outcome.notes:  # figures of runs that broke off say nothing
        outcome.goals = calls.goals(calls, measured)
    outcome.figures = {"runs": {side: [run_figures(run) for run in each] for side, each in measured.items()}}
    return outcome


def _raw(loop: str) -> list[str]:
    script = str(HERE / "raw_aiohttp.py")
    return [sys.executable, script, "{inputs}", "--url", "{url}", "--in-flight", "{in_flight}", loop]


def _run(calls: Calls, command: Sequence[str] | None, inputs: Path, folder: Path) -> Run:
    shutil.rmtree(folder, ignore_errors=True)
    with serving(calls.latency) as server:
        if command is None:
            ours = our_command(server, calls.in_flight, inputs, folder)
            return run_process(with_heartbeat(ours) if calls.heartbeat else ours, folder, server)
        values = {"inputs": inputs, "url": server.url, "in_flight": calls.in_flight}
        return run_process([word.format(**values) for word in command], folder, server)


def with_heartbeat(ours: Sequence[str]) -> list[str]:
    """The same command, which says at its end how long the event loop was away at worst."""
    return [sys.executable, str(HERE / "with_heartbeat.py"), *ours[ours.index("run") :]]


def _stall_ms(runs: Sequence[Run]) -> float | None:
    """Of CPU time of the loop's thread, so that what else the machine does counts little."""
    said = [re.search(STALL, run.output) for run in runs]
    return middle(None if one is None else float(one[1]) for one in said)


def our_command(server: Server, in_flight: int, inputs: Path, folder: Path, key: str = "bench-key") -> list[str]:
    """`agentbatch run` with what it does by default: results, traces, prices."""
    return agentbatch("run", str(write_config(folder, server.url, in_flight, key)), str(inputs))


def _table(measured: Mapping[str, Sequence[Run]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (
            "median of runs",
            "wall s",
            "CPU s",
            "RSS MB",
            "first req s",
            "work s",
            "us CPU/call",
            "back in ms p50/p99",
            "noise",
        )
    ]
    rows += [(side, *_medians(each)) for side, each in measured.items()]
    for side in measured:
        if side != OURS:
            pairs = [
                middle(
                    ratio(getattr(a, key), getattr(b, key)) for a, b in zip(measured[OURS], measured[side], strict=True)
                )
                for key in ("wall", "cpu", "rss_mb", "first_request", "work")
            ]
            rows.append((f"ours / {side}", *map(figure, pairs)))
    return rows


def _medians(runs: Sequence[Run]) -> list[str]:
    sent = runs[0].stats.get("requests") or 1
    turnarounds = [run.stats["turnaround_ms"] for run in runs]
    back = "/".join(figure(middle(each[share] for each in turnarounds), 0) for share in ("p50", "p99"))
    return [
        figure(middle(run.wall for run in runs)),
        figure(middle(run.cpu for run in runs)),
        figure(middle(run.rss_mb for run in runs), 0),
        figure(middle(run.first_request for run in runs)),
        figure(middle(run.work for run in runs)),
        figure(middle(run.cpu / sent * 1e6 for run in runs), 0),
        back,
        figure(middle(run.noise for run in runs)),
    ]


def _failures(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[str]:
    notes: list[str] = []
    for side, runs in measured.items():
        for run in runs:
            if run.exit_code or run.stats.get("requests") != calls.count:
                notes.append(
                    f"{side}: exit code {run.exit_code}, {run.stats.get('requests')} requests: ...{run.output[-400:]}"
                )
    return notes


def _value(runs: Sequence[Run], key: str) -> float | None:
    return middle(getattr(run, key) for run in runs)


def _versus(measured: Mapping[str, Sequence[Run]], key: str, other: str = RAW) -> float | None:
    return middle(ratio(getattr(a, key), getattr(b, key)) for a, b in zip(measured[OURS], measured[other], strict=True))


def goals_200(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    return [
        at_most(f"wall <= 1.25 x {calls.ideal:g} s", ratio(_value(measured[OURS], "wall"), calls.ideal), 1.25, " x")
    ]


def goals_1000(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    return [
        at_most("wall no longer than the raw loop's", _versus(measured, "wall"), 1.0, " x"),
        at_most("work no longer than the raw loop's", _versus(measured, "work"), 1.0, " x"),
    ]


def goals_oxygent(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    bound = calls.ideal + 0.2
    return [
        at_most(f"work <= {bound:g} s", _value(measured[OURS], "work"), bound, " s"),
        at_most("RSS < 100 MB", _value(measured[OURS], "rss_mb"), 100, " MB"),
        at_most("first request < 0.4 s after start", _value(measured[OURS], "first_request"), 0.4, " s"),
    ]


def goals_50k(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    return [
        at_most("wall <= 1.2 x the raw loop's", _versus(measured, "wall"), 1.2, " x"),
        at_most("RSS < 100 MB", _value(measured[OURS], "rss_mb"), 100, " MB"),
    ]


def goals_cpu(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    return [
        at_most("CPU <= 2.5 x the raw loop's", _versus(measured, "cpu"), 2.5, " x"),
        at_most("CPU <= 2.5 x the raw loop's on uvloop", _versus(measured, "cpu", RAW_UVLOOP), 2.5, " x"),
    ]


def goals_10k(calls: Calls, measured: Mapping[str, Sequence[Run]]) -> list[Goal]:
    start = _value(measured[OURS], "first_request") or 0.0
    wall = _value(measured[OURS], "wall")
    within = None if wall is None else (wall - start) / calls.ideal
    return [
        at_most(f"wall after the first request <= 1.3 x {calls.ideal:g} s", within, 1.3, " x"),
        at_most("longest stall of the event loop <= 100 ms of CPU", _stall_ms(measured[OURS]), 100, " ms"),
    ]


CALLS: Mapping[str, Calls] = {
    "calls-200": Calls(5_000, 0.1, 200, 2_000, goals_200),
    "calls-1000": Calls(5_000, 0.1, 1_000, 3_000, goals_1000),
    "oxygent": Calls(1_000, 0.2, 200, 400, goals_oxygent),
    "calls-50k": Calls(50_000, 0.1, 1_000, 10_000, goals_50k),
    "cpu": Calls(20_000, 0.0, 100, 5_000, goals_cpu),
    "in-flight-10k": Calls(20_000, 1.0, 10_000, 10_000, goals_10k, heartbeat=True),
}


def sized(calls: Calls, quick: bool, count: int | None) -> Calls:
    """The scenario with the number of calls that was asked for."""
    wanted = count or (calls.quick if quick else calls.count)
    return replace(calls, count=wanted, in_flight=min(calls.in_flight, wanted))
