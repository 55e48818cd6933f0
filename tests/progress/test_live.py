import fcntl
import os
import re
import signal
import struct
import termios
import threading

import pytest
from progress.terminal import Terminal

HOSTILE = ["a\x1b[31mred", "[bold]x[/bold]", "w\u202eriter", "c1\x9b2J", "osc\x1b]0;pwned\x07"]


def header(terminal: Terminal) -> list[str]:
    return [row for row in terminal.rows if row.startswith("agent ")]


@pytest.mark.parametrize(("columns", "agents"), [(80, 2), (80, 40), (120, 2), (120, 40), (200, 2), (200, 40)])
def test_the_table_stands_whole_on_the_screen(columns: int, agents: int) -> None:
    with Terminal({"agents": agents, "items": 30}, columns) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.watch(lambda: "30/50  60%" in terminal.text)
        rows = [row for row in terminal.rows if row.startswith(("agent_", "and "))]
        assert len(header(terminal)) == 1
        assert len(rows) == min(agents, 12)
        assert rows[0].split()[:4] == ["agent_1", "1", "3", "30"]
        assert all(len(row) < columns for row in terminal.rows)
        assert ("and 29 more" in terminal.text) == (agents == 40)
        assert "held back by rate limit rpm of model fast" in terminal.text
        assert ("tokens in" in terminal.text) == (columns > 80)


def test_after_the_end_there_is_only_the_summary() -> None:
    with Terminal({}, 80) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        assert terminal.finish() == 0
        assert header(terminal) == ["agent"] or not header(terminal)
        assert "held back by" not in terminal.text
        assert terminal.rows[0] == "2 of 20 items failed, in " + terminal.rows[0].rpartition("in ")[2]
        assert termios.tcgetattr(terminal.slave) == terminal.settings


def test_the_cursor_is_never_hidden_nor_the_screen_switched() -> None:
    with Terminal({}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.finish()
        modes = re.findall(rb"\x1b\[\?\d+[hl]", terminal.raw)
        assert modes == []
        assert not terminal.screen.cursor.hidden


def test_an_exception_leaves_a_whole_terminal_and_its_traceback() -> None:
    with Terminal({"crash": True}) as terminal:
        terminal.wait_for("ready")
        assert terminal.finish() == 1
        assert terminal.rows[0].startswith("Traceback")
        assert "ZeroDivisionError" in terminal.text
        assert not header(terminal)
        assert not terminal.screen.cursor.hidden


def test_even_kill_minus_nine_leaves_the_cursor_and_the_settings() -> None:
    with Terminal({}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.process.kill()
        terminal.process.wait()
        assert not terminal.screen.cursor.hidden
        assert terminal.screen.cursor.x == 0
        assert terminal.screen.cursor.attrs.bold is False
        assert termios.tcgetattr(terminal.slave) == terminal.settings


def test_hostile_names_and_messages_are_shown_escaped() -> None:
    message = "\x1b]0;pwned\x07\x1b[2J[red]boo[/red] \u202e \x9b31m\r\nnext"
    with Terminal({"names": HOSTILE, "message": message, "items": 4}, 200) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.watch(lambda: "[red]boo[/red]" in terminal.text)
        assert "a\\x1b[31mred" in terminal.text
        assert "[bold]x[/bold]" in terminal.text
        assert "w\\u202eriter" in terminal.text
        assert "\\x1b]0;pwned\\x07\\x1b[2J[red]boo[/red]" in terminal.text
        terminal.finish()
        assert terminal.screen.title == ""
        for marker in (b"\x1b]", b"\x1b[2J", b"\x07", "\u202e".encode(), "\x9b".encode()):
            assert marker not in terminal.raw


def test_no_color_draws_without_colours() -> None:
    with Terminal({"no_color": True}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        assert header(terminal)
        terminal.finish()
        assert re.search(rb"\x1b\[[0-9;]*m", terminal.raw) is None


def test_colours_where_nothing_forbids_them() -> None:
    with Terminal({}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        assert re.search(rb"\x1b\[[0-9;]*m", terminal.raw)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "1"}, {"TERM": None}])
def test_where_a_terminal_asks_for_none_there_is_no_escape_sequence(env: dict[str, str | None]) -> None:
    with Terminal({"interval": 0.01}, **env) as terminal:
        terminal.wait_for("ready")
        terminal.watch(lambda: "20/50 items (40%)" in terminal.text)
        assert terminal.finish() == 0
        assert b"\x1b" not in terminal.raw


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LANG": "C"}, {"LC_ALL": "POSIX"}])
def test_the_c_locale_gets_ascii(env: dict[str, str | None]) -> None:
    with Terminal({"message": "caf\u00e9", "names": ["日本"]}, **env) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.watch(lambda: "###" in terminal.text)
        terminal.finish()
        assert terminal.raw.isascii()
        assert "\\u65e5\\u672c" in terminal.text


@pytest.mark.parametrize(("columns", "lines"), [(20, 30), (1, 1), (2, 2), (300, 3), (80, 5)])
def test_odd_sizes_do_no_harm(columns: int, lines: int) -> None:
    with Terminal({"agents": 5}, columns, lines) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures(3)
        assert terminal.finish() == 0
        assert b"failed" in terminal.raw


def test_columns_zero_is_no_size() -> None:
    with Terminal({}, 100, COLUMNS="0", LINES="0") as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        assert header(terminal)


def test_a_terminal_of_size_nothing_counts_as_80_by_24() -> None:
    with Terminal({}) as terminal:
        fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        terminal.wait_for("ready")
        terminal.next_pictures()
        assert header(terminal)


def test_a_window_made_narrower_is_drawn_anew() -> None:
    with Terminal({}, 120) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.resize(80, 30)
        terminal.screen.resize(30, 80)
        terminal.next_pictures(3)
        assert len(header(terminal)) == 1
        assert "tokens in" not in terminal.text


def test_what_is_said_stands_above_the_table() -> None:
    with Terminal({"say": "stopping: \x1b[31mCtrl-C again\nsecond"}) as terminal:
        terminal.wait_for("ready")
        terminal.watch(lambda: "second" in terminal.text and header(terminal))
        terminal.next_pictures()
        assert terminal.rows[:2] == ["stopping: \\x1b[31mCtrl-C again", "second"]
        assert terminal.rows[2].startswith("agent ")


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(fd, True)


def test_a_terminal_nobody_reads_holds_neither_the_run_nor_its_end() -> None:
    terminal = Terminal({"items": 200})
    fill(terminal.slave)
    with terminal:
        terminal.wait_for("ready")
        terminal.go_on()
        assert terminal.process.wait(timeout=30) == 0


def test_a_pipe_nobody_reads_holds_neither_the_run_nor_its_end() -> None:
    reader, writer = os.pipe()
    fill(writer)
    terminal = Terminal({"items": 200, "mode": "plain"})
    os.dup2(writer, terminal.slave)
    with terminal:
        terminal.wait_for("ready")
        terminal.go_on()
        assert terminal.process.wait(timeout=30) == 0
    os.close(reader)
    os.close(writer)


def test_after_ctrl_s_and_ctrl_q_the_table_is_whole() -> None:
    with Terminal({}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        termios.tcflow(terminal.slave, termios.TCOOFF)
        assert not terminal.read(0.3) or not terminal.read(0.3)
        termios.tcflow(terminal.slave, termios.TCOON)
        terminal.next_pictures()
        assert len(header(terminal)) == 1
        assert terminal.finish() == 0


def test_after_ctrl_z_the_table_begins_below_what_the_shell_wrote() -> None:
    with Terminal({}) as terminal:
        terminal.wait_for("ready")
        terminal.next_pictures()
        terminal.process.send_signal(signal.SIGSTOP)
        while terminal.read(0.1):
            pass
        os.write(terminal.slave, b"\n[1]+ Stopped\n")
        threading.Event().wait(3.2)  # the display tells a stop by the length of the gap
        terminal.process.send_signal(signal.SIGCONT)
        terminal.next_pictures(2)
        rows = terminal.rows
        assert "[1]+ Stopped" in rows
        assert len(header(terminal)) == 2
        assert rows.index("[1]+ Stopped") > rows.index(header(terminal)[0])
