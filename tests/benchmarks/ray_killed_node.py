"""Many items over two nodes, one of which is killed and started again: lost, doubled, done twice, and the time.

`python tests/benchmarks/ray_killed_node.py [ITEMS] [--whole]`, with the extra `[ray]`, as root (nodes are network
namespaces). 100 ms an item, 400 in flight. `--whole`: nobody is killed, to compare with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ray_nodes import RayNodes

AT_ONCE = 400
LATENCY_S = 0.1


def write(folder: Path, items: int) -> None:
    config = {
        "version": 1,
        "models": {"m": {"provider": "mock", "latency": "100ms", "max_concurrency": AT_ONCE}},
        "agents": {"a": {"model": "m", "prompt": "{{ input.text }}"}},
        "workflow": "a",
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with (folder / "in.jsonl").open("w") as file:
        for number in range(items):
            file.write(json.dumps({"text": f"number {number}"}) + "\n")


def wait_for(path: Path, lines: int, process: subprocess.Popen[bytes]) -> float:
    while process.poll() is None and (path.read_bytes().count(b"\n") if path.exists() else 0) < lines:
        time.sleep(0.2)
    return time.perf_counter()


def run(items: int, *, kill: bool) -> None:
    with tempfile.TemporaryDirectory() as name, RayNodes(2) as nodes:
        folder = Path(name)
        write(folder, items)
        command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "--engine", "ray"]
        command += ["--address", nodes.address, "--progress", "none", "-q", "--no-traces"]
        said = folder / "said"
        with said.open("wb") as file:
            process = subprocess.Popen([*nodes.inside(1), *command], cwd=folder, env=nodes.environ, stderr=file)
        results = folder / "in.results.jsonl"
        began = wait_for(results, 1, process)
        away_s = 0.0
        if kill:
            gone = wait_for(results, items // 3, process)
            nodes.kill(2)
            wait_for(results, items // 2, process)
            nodes.start(2)
            away_s = time.perf_counter() - gone
        code = process.wait()
        passed = time.perf_counter() - began
        seen = Counter(json.loads(line)["index"] for line in results.read_bytes().splitlines())
        again = sum(int(number) for number in re.findall(r"(\d+) items run again", said.read_text()))
        lost, doubled = items - len(seen), sum(seen.values()) - len(seen)
        print(f"{items:,} items, exit code {code}, {passed:.1f} s from the first result, node away for {away_s:.1f} s")
        print(f"lost {lost}, doubled {doubled}, dealt again {again}: what the lost worker had, a part of it not begun")
        print(f"ideal {items * LATENCY_S / AT_ONCE:.1f} s")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    run(numbers[0] if numbers else 100_000, kill="--whole" not in sys.argv)
