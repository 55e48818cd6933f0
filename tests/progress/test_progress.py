import os
import subprocess
import sys

import pytest
from progress.terminal import PATIENCE_S, SCRIPT, environment

from agentbatch.progress import Silent, Tally, choose_mode, open_progress, use_color
from agentbatch.progress.outlet import Outlet

PERSON = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


@pytest.fixture
def terminal():
    master, slave = os.openpty()
    with open(slave, "w") as stream:
        outlet = Outlet(stream)
        yield outlet
        outlet.close()
    os.close(master)


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, "live"),
        ({"TERM": "dumb"}, "plain"),
        ({"TERM": ""}, "plain"),
        ({"CI": "true"}, "plain"),
        ({"CI": ""}, "live"),
        ({"NO_COLOR": "1"}, "plain"),
        ({"NO_COLOR": ""}, "live"),
    ],
)
def test_auto_at_a_terminal(terminal: Outlet, changes: dict[str, str], mode: str) -> None:
    assert choose_mode("auto", terminal, PERSON | changes) == mode


def test_auto_elsewhere_is_plain_and_a_word_is_obeyed(tmp_path) -> None:
    with open(tmp_path / "log", "w") as stream:
        outlet = Outlet(stream)
        assert choose_mode("auto", outlet, PERSON) == "plain"
        assert choose_mode("live", outlet, PERSON) == "live"
        assert choose_mode("json", outlet, PERSON) == "json"


def test_colour_only_where_it_is_wanted_and_shown(terminal: Outlet, tmp_path) -> None:
    assert use_color(terminal, environ=PERSON)
    assert not use_color(terminal, no_color=True, environ=PERSON)
    assert not use_color(terminal, environ=PERSON | {"NO_COLOR": "1"})
    assert not use_color(terminal, environ=PERSON | {"TERM": "dumb"})
    with open(tmp_path / "log", "w") as stream:
        assert not use_color(Outlet(stream), environ=PERSON)


def test_none_shows_nothing_but_says_what_must_be_said(tmp_path) -> None:
    path = tmp_path / "log"
    with open(path, "w") as stream:
        progress = open_progress("none", Tally(), stream=stream)
        assert isinstance(progress, Silent)
        progress.start()
        progress.say("one\x1b[31m\ntwo")
        progress.stop()
    assert path.read_text() == "one\\x1b[31m\ntwo\n"


def run_piped(options: str = "{}", *, stderr: int | None = subprocess.PIPE, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, SCRIPT, options],
        input=b"\n",
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment(**env),
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_piped_there_is_no_escape_sequence(locale: str) -> None:
    done = run_piped('{"message": "caf\\u00e9 \\u001b[31m \\u65e5", "interval": 0.01}', LANG=locale, LC_ALL=locale)
    assert done.returncode == 0
    assert b"\x1b" not in done.stderr
    assert b"2 of 20 items failed" in done.stderr
    assert ("caf\\xe9" if locale == "C" else "café") + " \\x1b[31m" in done.stderr.decode()
    assert done.stderr.isascii() == (locale == "C")


def test_ascii_alone_may_be_asked_for() -> None:
    done = run_piped('{"message": "caf\\u00e9"}', PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stderr.isascii()


@pytest.mark.parametrize("mode", ["live", "plain", "json", "none"])
def test_a_reader_of_stderr_that_has_gone_changes_nothing(mode: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_piped(f'{{"mode": "{mode}", "say": "hello"}}', stderr=writer)
    os.close(writer)
    assert done.returncode == 0
    assert done.stdout == b"ready\nend\n"


def test_a_closed_stderr_changes_nothing() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$1" 2>&-', sys.executable, SCRIPT],
        input=b"\n",
        stdout=subprocess.PIPE,
        env=environment(),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0
    assert done.stdout == b"ready\nend\n"


def test_rich_is_not_loaded_where_there_is_no_live_table() -> None:
    code = "import sys, agentbatch.progress, agentbatch.summary; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0
