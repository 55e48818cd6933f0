"""However a run on Ray ends, nothing of it stays: no process of a private Ray, no actor on a cluster."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines_ray_project import RayProject, told_by
from ray_cluster import CLUSTER, labelled_cluster

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

MARK = "AGENTBATCH_TEST_MARK"
ITEMS = 400
CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 400ms, max_concurrency: 8}}
agents:
  first: {model: m, prompt: "Hello {{ input.n }}"}
  second: {model: m, prompt: "More of {{ first.output }}"}
workflow: [first, second]
"""
PLACED = CONFIG.replace('first.output }}"}', 'first.output }}", placement: {disk: ssd}}')


def marked(mark: str, name: str = "") -> dict[int, str]:
    """The processes that were begun with the mark, and those below them; by name, if it is given."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                words = (entry / "cmdline").read_text().replace("\0", " ").strip()
                if name in words:
                    found[int(entry.name)] = words
        except OSError:
            continue
    return found


def wait_until_gone(there: Callable[[], object]) -> None:
    """Two helpers of Ray's try for a minute to tell a dead head that it is dead, before they end."""
    give_up = time.monotonic() + 150
    while left := there():
        assert time.monotonic() < give_up, left
        time.sleep(0.2)


def interrupted(project: RayProject, signals: list[signal.Signals], *options: str, **environ: str) -> tuple[int, str]:
    """A run that gets these signals, half a second apart, when it has written some results."""
    process = project.start(*options, **environ)
    give_up = time.monotonic() + 150
    while project.lines() < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, told_by(process, 0)
        time.sleep(0.1)
    for at, number in enumerate(signals):
        if at:
            time.sleep(0.5)
        process.send_signal(number)
    said = told_by(process, 60)
    return process.returncode, said


@pytest.fixture
def project(tmp_path: Path) -> RayProject:
    project = RayProject(tmp_path, CONFIG)
    project.write(ITEMS)
    return project


ENDS = [
    ([signal.SIGINT], 130),
    ([signal.SIGINT, signal.SIGINT], 130),
    ([signal.SIGTERM], 143),
    ([signal.SIGKILL], -9),
]


@pytest.mark.parametrize(("signals", "code"), ENDS, ids=["ctrl-c", "ctrl-c twice", "terminated", "killed"])
def test_of_a_private_ray_nothing_stays_and_the_same_command_goes_on(
    project: RayProject, signals: list[signal.Signals], code: int
):
    mark = secrets.token_hex(8)
    got, said = interrupted(project, signals, "--workers", "2", **{MARK: mark})
    assert got == code, said
    assert "Traceback" not in said
    assert ("Continue with:" in said) == (code > 0)
    wait_until_gone(lambda: marked(mark))
    before = project.results()
    assert 20 <= len(before) < ITEMS
    code, said = project.run("--workers", "2", "--set", "models.m.max_concurrency=100", **{MARK: mark})
    assert code == 0, said
    lines = project.results()
    assert [line["index"] for line in lines] == list(range(ITEMS))
    assert [line for line in lines if line in before] == before
    wait_until_gone(lambda: marked(mark))


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """A cluster's address, and the mark of its processes."""
    mark = secrets.token_hex(8)
    with labelled_cluster(**{MARK: mark}) as address:
        yield address, mark


@pytest.mark.parametrize(("signals", "code"), ENDS, ids=["ctrl-c", "ctrl-c twice", "terminated", "killed"])
def test_on_a_cluster_no_actor_stays(
    project: RayProject, cluster: tuple[str, str], signals: list[signal.Signals], code: int
):
    address, mark = cluster
    project.config = PLACED + "engine: {placement_timeout: 2m}\n"
    project.write(ITEMS)
    got, said = interrupted(project, signals, "--address", address, **CLUSTER)
    assert got == code, said
    wait_until_gone(lambda: marked(mark, "ray::StationActor") | marked(mark, "ray::BankActor"))
