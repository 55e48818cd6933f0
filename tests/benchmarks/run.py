"""Benchmarks of agentbatch beside a raw loop: measured in turn in one run, whole processes, ratios printed.

    python tests/benchmarks/run.py                       # everything; ten minutes
    python tests/benchmarks/run.py calls-200 cpu --quick
    python tests/benchmarks/run.py calls-1000 --runs 5 --json figures.json

The client under test has core 0, the local server core 1. Inputs and configs are written to a temporary folder. The
exit code says nothing about goals: figures depend on the machine and on what else it does (the column `noise`, a share
of the client's core). To measure another checkout, set PYTHONPATH to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from acting import measure_commands, measure_tools_react, measure_tools_turn
from calls import CALLS, measure_calls, sized
from durability import measure_commits, measure_journal, measure_storm
from flows import measure_overhead, measure_page_search, measure_parallel
from measure import compile_ahead, stay_on_client_core
from million import measure_million
from outcome import Outcome
from peer import PEER, peer_command
from refused_key import measure_refused_key
from server_speed import measure_server
from startup import measure_startup
from watching import measure_live_table, measure_looking_back, measure_watched

Measure = Callable[[argparse.Namespace, Path], Outcome]


def _calls(name: str) -> Measure:
    def measure(options: argparse.Namespace, folder: Path) -> Outcome:
        return measure_calls(name, sized(CALLS[name], options.quick, options.calls), options.runs, folder, {})

    return measure


def _peer(options: argparse.Namespace, folder: Path) -> Outcome:
    command = peer_command() if options.peer else None
    if command is None:
        return Outcome("peer", "skipped", notes=["give --peer to install the openai package into a folder of its own"])
    calls = sized(CALLS["calls-200"], options.quick, options.calls)
    return measure_calls("peer", calls, options.runs, folder, {PEER: command})


def _count(options: argparse.Namespace, full: int, quick: int) -> int:
    return options.calls or (quick if options.quick else full)


SCENARIOS: Mapping[str, Measure] = {
    "server": lambda options, folder: measure_server(_count(options, 200_000, 30_000), options.runs, folder),
    "startup": lambda options, folder: measure_startup(3 if options.quick else 10, folder),
    **{name: _calls(name) for name in CALLS},
    "wrong-key": lambda options, folder: measure_refused_key(_count(options, 10_000, 2_000), options.runs, folder),
    "journal": lambda options, folder: measure_journal(_count(options, 2_000, 400), options.runs, folder),
    "commits": lambda options, folder: measure_commits(_count(options, 100_000, 20_000), folder),
    "storm": lambda options, folder: measure_storm(_count(options, 3_000, 1_000), folder),
    "million": lambda options, folder: measure_million(_count(options, 1_000_000, 20_000), folder),
    "flow-overhead": lambda options, folder: measure_overhead(_count(options, 1_000, 200), options.runs, folder),
    "flow-parallel": lambda options, folder: measure_parallel(_count(options, 1_000, 200), options.runs, folder),
    "tools-turn": lambda options, folder: measure_tools_turn(options.runs, folder),
    "tools-react": lambda options, folder: measure_tools_react(_count(options, 1_000, 100), options.runs, folder),
    "commands": lambda options, folder: measure_commands(_count(options, 10_000, 300), options.runs, folder),
    "page-search": lambda options, folder: measure_page_search(options.runs, folder),
    "watched": lambda options, folder: measure_watched(_count(options, 10_000, 1_000), options.runs, folder),
    "live-table": lambda options, folder: measure_live_table(_count(options, 10_000, 1_000), folder),
    "looking-back": lambda options, folder: measure_looking_back(_count(options, 100_000, 2_000), folder),
    "peer": _peer,
}


def main(arguments: list[str]) -> None:
    """Measure what was asked for; print as it comes, and keep it all in a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turn")
    parser.add_argument("--calls", type=int, help="another number of calls or inputs")
    parser.add_argument("--peer", action="store_true", help="measure the openai package too, installing it if need be")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    options = parser.parse_args(arguments)
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    stay_on_client_core()
    compile_ahead()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n", flush=True)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="agentbatch-benchmark-") as folder:
        for name in options.scenarios or SCENARIOS:
            outcomes.append(SCENARIOS[name](options, Path(folder)))
            print(outcomes[-1].text(), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
