"""A disk that is full, fails or goes away: no further call is paid, the end says so, the same command continues."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from end_to_end.cases import cases
from end_to_end.checker import committed, faults_of, paid_twice
from end_to_end.project import Project, may_grow_to
from end_to_end.provider import Provider, good
from end_to_end.tracing import can_trace, strace

CONCURRENCY = 8


def check_stopped(project: Project, provider: Provider, ids: list[str], code: int, stderr: str, why: str) -> None:
    """The end of a run whose results could not be kept."""
    assert code == 74, stderr
    assert "in.results.jsonl" in stderr
    assert why in stderr
    assert "Continue with:" in stderr
    assert "Traceback" not in stderr
    assert not faults_of(project.results, ids, complete=False)
    assert len(provider.requests) < len(ids), "calls went on though nothing could be kept"


def check_continued(project: Project, provider: Provider, ids: list[str]) -> None:
    before, asked = committed(project.results), len(provider.requests)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert not paid_twice(before, provider.requests[asked:])
    # what was in flight, or answered and not yet on disk
    assert len(provider.requests) - len(ids) <= 3 * CONCURRENCY


@pytest.mark.parametrize("limit", cases({"torn": 10_007, "between": 20_480}, "torn"))
def test_a_file_that_may_not_grow(project: Project, provider: Provider, limit: int) -> None:
    """`RLIMIT_FSIZE` tears the write at this very byte."""
    ids = project.give(200)
    provider.script = lambda asked: good(asked.id, delay=0.01)
    stopped = project.run("--no-traces", under=may_grow_to(limit))
    check_stopped(project, provider, ids, stopped.code, stopped.stderr, "EFBIG")
    assert project.results.stat().st_size <= limit
    check_continued(project, provider, ids)


FAULTS = {"EIO": "fdatasync:error=EIO:when=3", "ENOSPC": "write:error=ENOSPC:when=4+"}


@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize("fault", cases(FAULTS, "EIO"))
def test_a_disk_that_fails(project: Project, provider: Provider, fault: str) -> None:
    ids = project.give(200)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    call, _, how = fault.partition(":")
    stopped = project.run(under=strace(project.results, call, how))
    check_stopped(project, provider, ids, stopped.code, stopped.stderr, "EIO" if "EIO" in fault else "ENOSPC")
    check_continued(project, provider, ids)


def may_mount() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
def test_a_full_disk(project: Project, provider: Provider) -> None:
    """Everything that the run keeps is on it: results, traces, journal."""
    ids = project.give(300)
    provider.script = lambda asked: good(asked.id, delay=0.01)
    script = (
        "mkdir small && mount -t tmpfs -o size=100k none small"
        ' && { "$@" -o small/in.results.jsonl; code=$?; cp small/* .; exit $code; }'
    )
    stopped = project.run(under=["unshare", "-m", "sh", "-c", script, "sh"])
    check_stopped(project, provider, ids, stopped.code, stopped.stderr, "cannot be written")
    # there is room again
    assert b"\0" not in project.results.read_bytes()
    check_continued(project, provider, ids)


@pytest.mark.slow
def test_a_disk_that_was_full_before_the_start_costs_nothing(project: Project, provider: Provider) -> None:
    project.give(5)
    refused = project.run(under=may_grow_to(100))
    assert refused.code == 74, refused.stderr
    assert not provider.requests


@contextmanager
def in_mid_run(project: Project, provider: Provider, *args: str) -> Iterator[tuple]:
    ids = project.give(300)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    with project.start(*args) as run:
        provider.wait_for(40)
        yield run, ids


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


MEDDLING = {
    "was deleted": lambda path: path.unlink(),
    "was replaced by another file": lambda path: (path.rename(f"{path}.old"), path.write_bytes(b"")),
    "was truncated": lambda path: os.truncate(path, 0),
    "was written to by somebody else": lambda path: append(path, b"{}\n"),
}


@pytest.mark.parametrize("what", cases(list(MEDDLING), "was deleted"))
def test_results_that_somebody_takes_away_stop_the_run(project: Project, provider: Provider, what: str) -> None:
    """Never written on silently, least of all into a file without a name."""
    with in_mid_run(project, provider) as (run, ids):
        MEDDLING[what](project.results)
        ended = run.end()
    assert ended.code == 74, ended.stderr
    assert what in ended.stderr
    assert len(provider.requests) < len(ids)


def test_a_header_that_somebody_deletes_is_made_again(project: Project, provider: Provider) -> None:
    header = project.folder / "in.results.run.json"
    with in_mid_run(project, provider) as (run, ids):
        before = header.read_bytes()
        header.unlink()
        ended = run.end()
    assert ended.code == 0, ended.stderr
    assert "in.results.run.json was deleted during the run, and is made again" in ended.stderr
    assert json.loads(header.read_bytes())["shape"] == json.loads(before)["shape"]
    check_continued(project, provider, ids)


def test_a_trace_file_that_is_full_costs_no_result(project: Project, provider: Provider) -> None:
    ids = project.give(10)
    ended = project.run("--traces", "/dev/full")
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert "spans are not in /dev/full: No space left on device" in ended.stderr


def unwritable(project: Project) -> dict[str, Path]:
    folder, file = project.folder / "folder", project.folder / "file"
    folder.mkdir()
    file.touch()
    loop = project.folder / "loop.jsonl"
    loop.symlink_to(loop.name)
    return {
        "is a folder": folder,
        "no such folder": project.folder / "missing" / "x.jsonl",
        "below a file": file / "x.jsonl",
        "a full device": Path("/dev/full"),
        "a loop of links": loop,
        "a file system that is read-only": Path("/proc/x.jsonl"),
    }


PLACES = [
    "is a folder",
    "no such folder",
    "below a file",
    "a full device",
    "a loop of links",
    "a file system that is read-only",
]


@pytest.mark.parametrize("place", cases(PLACES, "is a folder", "a full device", "a loop of links"))
def test_a_place_that_cannot_be_written_is_found_before_anything_is_paid(
    project: Project, provider: Provider, place: str
) -> None:
    project.give(3)
    path = unwritable(project)[place]
    refused = project.run("-o", str(path))
    assert refused.code == 74, refused.stderr
    assert str(path) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not provider.requests


@pytest.mark.slow
def test_the_inputs_are_never_written_over(project: Project, provider: Provider) -> None:
    project.give(3)
    before = project.inputs.read_bytes()
    refused = project.run("-o", "in.jsonl")
    assert refused.code == 2
    assert project.inputs.read_bytes() == before
    assert not provider.requests


@pytest.mark.slow
def test_a_link_leads_to_the_file_it_names(project: Project) -> None:
    ids = project.give(3)
    real = project.folder / "elsewhere.jsonl"
    project.results.symlink_to(real)
    assert project.run().code == 0
    assert project.results.is_symlink()
    assert not faults_of(real, ids)
