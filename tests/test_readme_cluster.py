"""The README's "More than one machine", typed at three machines as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from network import no_network
from ray_machines import RayMachines
from test_readme import BLOCK, TEXT

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(no_network() is not None, reason=str(no_network())),
]

SECTION = TEXT.partition("### More than one machine\n")[2].partition("\n### ")[0]
BLOCKS = [body for _, body in BLOCK.findall(SECTION)]
ON = re.compile(r"^(.*?)\s+# on (10\..*)$")


def block(beginning: str) -> str:
    (found,) = [body for body in BLOCKS if body.startswith(beginning)]
    return found


def lines_by_machine(text: str) -> list[tuple[int, str]]:
    """The lines of a block, with the machines on which its remarks say they are typed."""
    typed: list[tuple[int, str]] = []
    for line in text.splitlines():
        said = ON.match(line)
        command, where = (said[1], said[2]) if said else (line, "10.77.0.1")
        typed += [(int(number), command) for number in re.findall(r"10\.77\.0\.(\d)", where)]
    return typed


def type_all(machines: RayMachines, text: str) -> None:
    for number, line in lines_by_machine(text):
        machines.type(number, machines.as_here(line))


@pytest.fixture(scope="module")
def machines() -> Iterator[RayMachines]:
    with RayMachines(3) as machines:
        (machines.home(1) / "many.yaml").write_text(block("# many.yaml"))
        yield machines


def wait_for_lines(path: Path, lines: int, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 150
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_run_on_three_machines_of_which_one_is_killed(machines: RayMachines):
    type_all(machines, block("ray start --head --port"))
    *before, (number, run) = lines_by_machine(block("seq 3000"))
    for at, line in before:
        machines.type(at, line)
    process = subprocess.Popen(machines.shell(number, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    results = machines.home(1) / "topics.results.jsonl"
    wait_for_lines(results, 1000, process)
    machines.switch_off(3)
    out, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert out == ""
    assert re.search(machines.as_here(r"worker w\d on 10.77.0.3 is lost: .*; \d+ items run again"), said)
    assert re.search(rf"nodes (.* )?{re.escape(machines.host(2))}:1\d\d", said)
    assert "All 3,000 items succeeded" in said
    assert ids_in(results) == list(range(1, 3001))


def test_a_job_from_a_machine_without_ray(machines: RayMachines, tmp_path: Path):
    for number in (1, 2):
        machines.switch_off(number)
        machines.switch_on(number)
    (head,) = re.findall(r"`(ray start --head --dashboard-host=\S+)`", SECTION)
    machines.type(1, head)
    machines.type(2, machines.as_here("ray start --address=10.77.0.1:6379"))
    (tmp_path / "none" / "ray").mkdir(parents=True)
    (tmp_path / "none" / "ray" / "__init__.py").write_text("raise ImportError('no Ray on this machine')\n")
    (tmp_path / "many.yaml").write_text(block("# many.yaml"))
    shown = machines.as_here(block("$ export"))
    lines = [line[2:] for line in shown.splitlines() if line.startswith("$ ")]
    (address,) = re.findall(r"AGENTBATCH_JOBS_ADDRESS=(\S+)", lines.pop(0))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "none"), "AGENTBATCH_JOBS_ADDRESS": address}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"

    def typed(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, line + done.stdout + done.stderr
        return done.stdout

    typed("""seq 3000 | sed 's/.*/{"topic": "number &"}/' > topics.jsonl""")
    (named,) = re.findall(r"submit.*\n(\S+)", shown)
    job = typed(lines.pop(0)).strip()
    assert re.fullmatch(r"many-topics-[0-9a-f]{8}-[0-9a-f]{6}", job)
    said = wait_until_it_works(lambda: typed(lines[0].replace(named, job)))
    assert "running" in said
    fetch = lines[1].replace(named, job)
    assert "fetch again for the rest" in typed(fetch)
    assert "All 2,000 items succeeded" in typed(f"agentbatch logs -f {job}")
    assert "succeeded" in typed(fetch)
    assert ids_in(tmp_path / "topics.results.jsonl") == list(range(1, 2001))
    # the rest of the inputs, stopped and continued
    more = "agentbatch submit many.yaml topics.jsonl"
    job = typed(f"{more} --set models.fast.max_concurrency=10").strip()
    wait_until_it_works(lambda: typed(f"agentbatch status {job}"))
    assert "stopped" in typed(f"agentbatch stop {job}")
    job = typed(more).strip()
    assert re.search(r"items +[\d,]+ ok; [\d,]+ before", typed(f"agentbatch logs -f {job}"))
    typed(f"agentbatch fetch {job}")
    assert ids_in(tmp_path / "topics.results.jsonl") == list(range(1, 3001))


def wait_until_it_works(status: Callable[[], str]) -> str:
    give_up = time.monotonic() + 150
    while not re.search(r"[1-9]\d* in flight", said := status()):
        assert time.monotonic() < give_up, said
        time.sleep(1)
    return said


def ids_in(results: Path) -> list[int]:
    return sorted(int(found) for found in re.findall(r'^{"id":"(\d+)"', results.read_text(), re.MULTILINE))
