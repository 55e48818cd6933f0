"""What a run on Ray costs its driver and its workers in CPU per item, and one process without Ray for comparison.

`python tests/benchmarks/ray_driver.py [ITEMS] [WORKERS]`, with the extra `[ray]`; 0 workers: in this process alone. CPU
is read from /proc between two moments in the middle of the run, so that starting and ending are not in it.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agentbatch.engines.ray.leases.bank import Bank
from agentbatch.engines.ray.leases.loans import Holding, Need, Report, Terms

TICKS = os.sysconf("SC_CLK_TCK")
REPLY = "x" * 760
"""It stands twice in a line, which so has 2 KB."""


def write(folder: Path, items: int) -> None:
    config = {
        "version": 1,
        "models": {"m": {"provider": "mock", "latency": "20ms", "max_concurrency": 400, "reply": REPLY}},
        "agents": {"a": {"model": "m", "prompt": "{{ input.text }}"}},
        "workflow": "a",
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with (folder / "in.jsonl").open("w") as file:
        for number in range(items):
            file.write(json.dumps({"text": f"{number} " + "y" * 300}) + "\n")


def cpu_of(pid: int) -> float:
    """Seconds of user and system time."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def stations_below(pid: int) -> list[int]:
    """The worker processes of a run, by their title."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, to_see = [], [pid]
    while to_see:
        children = parents.get(to_see.pop(), [])
        to_see += children
        found += [child for child in children if "StationActor" in (Path("/proc") / str(child) / "cmdline").read_text()]
    return found


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run(items: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, items)
        engine = ["--engine", "ray", "--workers", str(workers)] if workers else []
        command = ["run", "c.yaml", "in.jsonl", *engine, "--progress", "none", "-q"]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "agentbatch", *command], cwd=folder)
        results = folder / "in.results.jsonl"
        while lines_in(results) == 0 and process.poll() is None:
            time.sleep(0.02)
        print(f"start to first result: {time.perf_counter() - began:.1f} s (load {os.getloadavg()[0]:.1f})")
        while lines_in(results) < items * 0.2 and process.poll() is None:
            time.sleep(0.05)
        pids = stations_below(process.pid)
        looked, done = time.perf_counter(), lines_in(results)
        driver, there = cpu_of(process.pid), [cpu_of(pid) for pid in pids]
        while lines_in(results) < items * 0.8 and process.poll() is None:
            time.sleep(0.05)
        more, passed = lines_in(results) - done, time.perf_counter() - looked
        per_item = (cpu_of(process.pid) - driver) / more * 1e6
        per_worker = sum(cpu_of(pid) - before for pid, before in zip(pids, there, strict=True)) / more * 1e6
        size = results.stat().st_size / lines_in(results)
        process.wait()
        print(f"{more:,} items in {passed:.1f} s, {size:,.0f} bytes a line, {workers} workers")
        print(f"driver: {per_item:.0f} us of CPU an item; workers: {per_worker:.0f} us an item")


def bank_speed(workers: int = 16, rounds: int = 400) -> None:
    """How many reports a second one core of the bank takes."""
    import asyncio

    async def main() -> float:
        bank = Bank(4.0)
        terms = {f"model m{n}": Terms(400, 6000, 600_000) for n in range(3)}
        began = time.process_time()
        for number in range(1, rounds + 1):
            for worker in range(workers):
                report = Report(str(worker), number, terms)
                report.places = {owner: Holding(20, 15, 25) for owner in terms}
                report.rates = {(owner, unit): Need(0.0, 3.0) for owner in terms for unit in ("rpm", "tpm")}
                data = pickle.dumps(report, protocol=5)
                pickle.dumps(bank.report(pickle.loads(data), asyncio.get_running_loop().time()), protocol=5)
        return (time.process_time() - began) / (rounds * workers)

    each = asyncio.run(main())
    print(f"bank of limits: {each * 1e6:.0f} us of CPU a report of three limited models, {workers} workers")


if __name__ == "__main__":
    items, workers = (int(word) for word in [*sys.argv[1:], "20000", "2"][:2])
    run(items, workers)
    if workers:
        run(items, 0)
    bank_speed()
