"""A real pseudo-terminal around a scripted run, and what a person would see on it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

SCRIPT = Path(__file__).with_name("scripted_run.py")
ROOT = SCRIPT.parents[2]
PATIENCE_S = 30.0
"""Only a hang takes this long."""


def environment(**changes: str | None) -> dict[str, str]:
    """The environment of a person at a terminal, whatever the tests run in."""
    own = ("CI", "NO_COLOR", "COLUMNS", "LINES", "LANG", "LC_ALL", "LC_CTYPE", "TERM")
    base = {key: value for key, value in os.environ.items() if key not in own}
    base |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    return {key: value for key, value in (base | changes).items() if value is not None}


class Terminal:
    """A scripted run whose stderr is a terminal of the given size; its stdin and stdout are pipes."""

    def __init__(self, options: dict[str, Any], columns: int = 120, lines: int = 30, **env: str | None) -> None:
        self.master, self.slave = os.openpty()
        self.resize(columns, lines)
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.settings = termios.tcgetattr(self.slave)
        self._options, self._env = options, environment(**env)

    def __enter__(self) -> Terminal:
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.slave,
            env=self._env,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, word: str) -> None:
        """Until the run has printed this line on stdout."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word.encode():
                return
        raise AssertionError(f"the run ended without {word!r}; screen:\n{self.text}")

    @property
    def rows(self) -> list[str]:
        return [row.rstrip() for row in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.rows).rstrip()

    def read(self, patience: float = 0.0) -> bool:
        """Take what the terminal has; False if there was nothing."""
        if not select.select([self.master], [], [], patience)[0]:
            return False
        data = os.read(self.master, 1 << 16)
        self.raw += data
        self._stream.feed(data)
        return True

    def watch(self, condition: Callable[[], Any]) -> None:
        """Read until the screen is as it should be."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"never seen; screen:\n{self.text}"
            self.read(0.05)

    def next_pictures(self, number: int = 2) -> None:
        """Read until so many more pictures have begun."""
        begun = self.raw.count(b"\x1b[J") + number
        self.watch(lambda: self.raw.count(b"\x1b[J") >= begun)

    def go_on(self) -> None:
        """Let the run come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def finish(self) -> int:
        """Let it end, read to the last letter, return its exit code."""
        self.go_on()
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the run did not end"
            self.read(0.02)
        while self.read():
            pass
        return self.process.returncode
