"""Screens that are none: pipes, dumb terminals, readers that left or do not read. The run goes on."""

from __future__ import annotations

import json
import os

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Provider, good, refused

ODD_WORLDS = {
    "a dumb terminal": {"TERM": "dumb"},
    "the C locale": {"TERM": None, "LANG": "C", "LC_ALL": "C"},
    "no colour wanted": {"NO_COLOR": "1", "TERM": "xterm-256color"},
    "colour forced": {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "0", "LINES": "0"},
    "a narrow CI": {"COLUMNS": "20", "CI": "true", "PYTHONIOENCODING": "ascii"},
}


@pytest.mark.parametrize("world", cases(ODD_WORLDS, "the C locale"))
def test_a_pipe_gets_plain_text_whatever_the_environment_says(project: Project, provider: Provider, world) -> None:
    project.give(3)
    provider.script = lambda asked: refused("400 No", message="é\u202e\x1b[1m") if asked.id == "2" else good(asked.id)
    ended = project.run("--json", env=world)
    assert ended.code == 1
    assert "\x1b" not in ended.stderr
    assert "UnicodeEncodeError" not in ended.stderr
    assert "1 of 3 items failed" in ended.stderr
    assert json.loads(ended.stdout)["total"] == 3


@pytest.mark.slow
def test_a_progress_line_comes_now_and_then(project: Project, provider: Provider) -> None:
    project.give(30)
    provider.script = lambda asked: good(asked.id, delay=0.8)
    ended = project.run()
    assert ended.code == 0
    progress = [line for line in ended.stderr.splitlines() if "in flight" in line]
    assert 1 <= len(progress) <= 3


def test_a_blocked_stderr_blocks_nothing(project: Project, provider: Provider) -> None:
    """A pipe that is full and that nobody reads."""
    ids = project.give(40)
    provider.script = lambda asked: refused("400 No", message="x" * 400) if int(asked.id) % 2 else good(asked.id)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    try:
        with project.start("-v", "--progress", "plain", stderr=writing) as run:
            ended = run.end(30)
    finally:
        os.close(reading)
        os.close(writing)
    assert ended.code == 1
    assert not faults_of(project.results, ids)


@pytest.mark.parametrize("redirection", cases(["2>&-", "2>/dev/full", ">&- 2>&-"], "2>&-"))
def test_a_stderr_that_is_not_there_changes_nothing(project: Project, provider: Provider, redirection: str) -> None:
    ids = project.give(5)
    provider.script = lambda asked: refused("400 No") if asked.id == "2" else good(asked.id)
    ended = project.run("-v", under=["sh", "-c", f'exec "$@" {redirection}', "sh"])
    assert ended.code == 1
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_a_reader_of_stderr_that_leaves_changes_nothing(project: Project, provider: Provider) -> None:
    ids = project.give(40)
    provider.script = lambda asked: good(asked.id, delay=0.1)
    reading, writing = os.pipe()
    os.close(reading)
    with project.start("-v", "--progress", "plain", stderr=writing) as run:
        os.close(writing)
        ended = run.end()
    assert ended.code == 0
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_a_summary_that_nobody_reads_on_stdout(project: Project, provider: Provider) -> None:
    ids = project.give(5)
    reading, writing = os.pipe()
    os.close(reading)
    with project.start("--json", stdout=writing) as run:
        os.close(writing)
        ended = run.end()
    assert ended.code == 141, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_a_summary_that_cannot_be_written_is_said(project: Project, provider: Provider) -> None:
    ids = project.give(3)
    ended = project.run("--summary", "/dev/full")
    assert ended.code == 74, ended.stderr
    assert "/dev/full" in ended.stderr
    assert not faults_of(project.results, ids)
    ended = project.run("--json", under=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    assert ended.code == 74, ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_stdin_at_all_is_needed(project: Project, provider: Provider) -> None:
    ids = project.give(3)
    ended = project.run(under=["sh", "-c", 'exec "$@" <&-', "sh"])
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_results_for_a_stdout_that_is_closed_do_not_go_nowhere(project: Project, provider: Provider) -> None:
    project.give(3)
    ended = project.run("-o", "-", under=["sh", "-c", 'exec "$@" >&-', "sh"])
    assert ended.code == 74
    assert "stdout" in ended.stderr
