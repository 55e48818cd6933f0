import os
import pty
import termios
from pathlib import Path

import pytest

from agentbatch.text.screen import Screen, screen_of


def test_a_file_has_no_colours_and_cuts_nothing(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        screen = screen_of(stream)
    assert (screen.columns, screen.color, screen.cuts) == (120, False, False)
    assert screen.paint("text", "red") == "text"


def test_a_terminal_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    try:
        termios.tcsetwinsize(follower, (30, 66))
        with os.fdopen(follower, "w", encoding="utf-8") as stream:
            screen, without = screen_of(stream), screen_of(stream, no_color=True)
    finally:
        os.close(leader)
    assert (screen.columns, screen.color, screen.cuts) == (66, True, True)
    assert without.color is False


def test_colours_and_letters() -> None:
    assert Screen(color=True).paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert Screen(color=True).paint("x", "") == "x"
    assert Screen(encoding="ascii").showable("é") == "\\xe9"
    assert Screen().showable("é") == "é"
