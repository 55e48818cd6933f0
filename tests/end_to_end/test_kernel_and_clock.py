"""What the machine does to a run: the kernel kills it for its memory, somebody sets the clock."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from end_to_end.checker import committed, faults_of, paid_twice
from end_to_end.crooked_batches import CrookedBatches, serving
from end_to_end.project import Project, environment
from end_to_end.provider import Provider, good

_MEMORY = Path("/sys/fs/cgroup/memory")
_HUNGRY = """
from pathlib import Path

def hungry(input):
    if input["text"] == "text 60" and not Path("eaten").exists():
        Path("eaten").touch()
        return len([bytearray(10_000_000) for _ in range(100)])
    return 0
"""
_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The wall clock leaps a day ahead one second after the start, and two days back a second later;
   where LEAP names a file, it leaps when that is there, and stays. */
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static struct timespec began;
    if (!real) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        real(CLOCK_MONOTONIC, &began);
    }
    int result = real(which, now);
    if (which == CLOCK_REALTIME) {
        struct timespec since;
        real(CLOCK_MONOTONIC, &since);
        double passed = since.tv_sec - began.tv_sec + (since.tv_nsec - began.tv_nsec) / 1e9;
        const char *leap = getenv("LEAP");
        if (leap)
            now->tv_sec += access(leap, F_OK) ? 0 : 86400;
        else
            now->tv_sec += passed > 2 ? -86400 : passed > 1 ? 86400 : 0;
    }
    return result;
}
"""


@pytest.fixture
def little_memory(tmp_path: Path) -> Iterator[list[str]]:
    """A command that runs another with 300 MB of memory."""
    group = _MEMORY / f"agentbatch-{tmp_path.name}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(300_000_000))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()


def test_killed_for_its_memory_a_run_is_continued(
    project: Project, provider: Provider, little_memory: list[str]
) -> None:
    ids = project.give(120)
    (project.folder / "eating.py").write_text(_HUNGRY)
    writer = {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"}
    agents = {"eater": {"kind": "function", "function": "eating:hungry"}, "writer": writer}
    project.configure(agents=agents, workflow=["writer", "eater"])
    assert project.run(under=little_memory).code == -9
    before, asked = committed(project.results), len(provider.requests)
    assert before
    assert not faults_of(project.results, ids, complete=False).doubled
    assert project.run().code == 0
    faults = faults_of(project.results, ids)
    assert not (faults.lost or faults.doubled or faults.torn)
    assert paid_twice(before, provider.requests[asked:]) == []


@pytest.fixture
def leaping_clock(tmp_path: Path) -> dict[str, str]:
    """An environment in which the wall clock leaps."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a clock with")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(_CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    changed = {"LD_PRELOAD": str(library)}
    look = [sys.executable, "-c", "import time; began = time.time(); time.sleep(1.1); print(time.time() - began)"]
    passed = float(subprocess.run(look, env=environment(**changed), capture_output=True, check=True).stdout)
    assert passed > 80_000, "the clock does not leap"
    return changed


def test_a_clock_that_leaps_neither_hastens_nor_holds_anything(
    project: Project, provider: Provider, leaping_clock: dict[str, str]
) -> None:
    """50 requests, 600 a minute: a tenth of a second apart whatever the wall says, and no timeout comes of it."""
    ids = project.give(50)
    project.configure(model={"rpm": 600, "timeout": "20s"}, limits={"item_timeout": "30s"})
    provider.script = lambda asked: good(asked.id, delay=0.02)
    ended = project.run(env=leaping_clock)
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert 4.0 < provider.requests[-1].at - provider.requests[0].at < 15.0
    stamps = sorted(line["started_at"] for line in project.lines())
    assert datetime.fromisoformat(stamps[-1]) - datetime.fromisoformat(stamps[0]) < timedelta(seconds=15)


def test_a_clock_that_leaps_makes_no_batch_old(project: Project, leaping_clock: dict[str, str]) -> None:
    """`max_wait` of an hour, and a day that passes between two looks: the batch is neither cancelled nor paid again."""
    project.give(3)
    leap = project.folder / "leap"
    batches = CrookedBatches()
    batches.polls = [503, 503, 503]
    batches.step = lambda name: leap.touch() if name == "GET batches" else None
    with serving(batches) as url:
        settings = {"poll_every": "200ms", "gather": "1s", "max_wait": "1h"}
        project.configure(model={"base_url": url, "provider_batch": settings})
        ended = project.run(env={**leaping_clock, "LEAP": str(leap)})
    assert ended.code == 0, ended.stderr
    assert leap.exists()
    assert set(batches.submitted.values()) == {1}
    assert len(batches.looks) == 4
