import io
import os
import termios
from pathlib import Path

import pytest

from agentbatch.progress.outlet import Outlet, tell


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as stream:
        yield reader, stream
    os.close(reader)


def fill(fd: int) -> None:
    """Write until a pipe or terminal takes no more."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(fd, True)


def drain(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""
    try:
        while chunk := os.read(fd, 1 << 16):
            data += chunk
    except BlockingIOError:
        pass
    return data


def test_what_is_written_arrives(pipe) -> None:
    reader, stream = pipe
    outlet = Outlet(stream)
    assert outlet.write("héllo\n")
    outlet.close()
    assert drain(reader).decode() == "héllo\n"


def test_a_full_pipe_keeps_the_rest_for_later_and_never_waits(pipe) -> None:
    reader, stream = pipe
    outlet = Outlet(stream)
    fill(stream.fileno())
    assert not outlet.write("first ")
    assert not outlet.write("second")
    drain(reader)
    assert outlet.flush()
    assert drain(reader) == b"first second"
    outlet.close()


def test_more_than_a_pipe_holds_goes_in_parts(pipe) -> None:
    reader, stream = pipe
    outlet = Outlet(stream)
    text = "".join(f"{number:7}\n" for number in range(50_000))
    complete, seen = outlet.write(text), b""
    while not complete:
        seen += drain(reader)
        complete = outlet.flush()
    seen += drain(reader)
    outlet.close()
    assert seen.decode() == text


def test_a_reader_far_behind_gets_no_backlog(pipe) -> None:
    reader, stream = pipe
    outlet = Outlet(stream)
    fill(stream.fileno())
    for _ in range(1000):
        outlet.write("y" * 1000)
    drain(reader)
    outlet.flush()
    assert len(drain(reader)) < 70_000
    outlet.close()


def test_a_terminal_stopped_with_ctrl_s_does_not_hold_us() -> None:
    master, slave = os.openpty()
    with open(slave, "w") as stream:
        outlet = Outlet(stream)
        termios.tcflow(slave, termios.TCOOFF)
        assert not outlet.write("later")
        termios.tcflow(slave, termios.TCOON)
        assert outlet.flush(patience=10)
        assert os.read(master, 100) == b"later"
        outlet.close()
    os.close(master)


def test_the_descriptor_we_share_keeps_its_flags() -> None:
    master, slave = os.openpty()
    with open(slave, "w") as stream:
        outlet = Outlet(stream)
        assert outlet.is_tty
        assert os.get_blocking(slave)
        outlet.close()
    os.close(master)


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        outlet = Outlet(stream)
        os.close(reader)
        assert outlet.write("nobody reads this")
        assert not outlet.alive
        assert outlet.write("nor this")
        outlet.close()


def test_a_stream_that_is_closed_or_has_no_descriptor_is_no_error(tmp_path: Path) -> None:
    with open(tmp_path / "x", "w") as closed:
        pass
    for stream in (closed, io.StringIO()):
        outlet = Outlet(stream)
        assert not outlet.alive
        assert not outlet.is_tty
        assert outlet.write("x")
        outlet.close()


def test_letters_the_encoding_lacks_are_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "w", encoding="ascii") as stream:
        outlet = Outlet(stream)
        assert not outlet.unicode
        assert outlet.showable("café") == "caf\\xe9"
        outlet.write("café\n")
        outlet.close()
    assert path.read_bytes() == b"caf\\xe9\n"


@pytest.mark.parametrize(
    ("variables", "unicode"),
    [
        ({"LANG": "C"}, False),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8", "LC_CTYPE": "C"}, False),
        ({}, True),
    ],
)
def test_the_c_locale_means_ascii(pipe, monkeypatch: pytest.MonkeyPatch, variables: dict, unicode: bool) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outlet = Outlet(pipe[1])
    assert outlet.unicode == unicode
    outlet.close()


@pytest.mark.parametrize(
    ("columns", "expected"), [("0", (80, 24)), ("", (80, 24)), ("x", (80, 24)), ("-5", (80, 24)), ("132", (132, 24))]
)
def test_a_size_is_never_zero(pipe, monkeypatch: pytest.MonkeyPatch, columns: str, expected: tuple) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("LINES", raising=False)
    outlet = Outlet(pipe[1])
    assert outlet.size() == expected
    outlet.close()


def test_tell_gives_up_on_a_reader_that_does_not_read(pipe) -> None:
    reader, stream = pipe
    fill(stream.fileno())
    assert not tell("the end\n", stream, patience=0.05)
    drain(reader)
    assert tell("the end\n", stream)
    assert drain(reader) == b"the end\n"
