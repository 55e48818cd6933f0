"""The run's end of the pipe to the process that sends its spans. The run never waits for it, and never fails by it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, cast

import orjson

MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes of traces that wait for the sender; beyond them spans are dropped, and counted."""

CLOSE_S: Final = 30.0
"""How long the sender may take, once the run has ended; where nothing gets through, it ends by itself before."""

SENDER: Final = (sys.executable, "-P", "-m", "agentbatch.otel.sender")
"""`-P`: a file in the current folder must not stand in for a module of the library."""


class OtelPipe:
    """Starts the sender and hands it trace lines, from threads of its own."""

    def __init__(
        self, environ: Mapping[str, str], command: Sequence[str] = SENDER, most_waiting: int = MOST_WAITING
    ) -> None:
        self.error: str | None = None
        self._most_waiting = most_waiting
        self._handed = self._accepted = 0
        self._bytes_put = self._bytes_written = 0
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environ, "PYTHONPATH": _with_this_package(environ.get("PYTHONPATH", ""))},
            start_new_session=True,  # a Ctrl-C is meant for the run, which then tells the sender to end
        )
        self._threads = [
            threading.Thread(target=target, name="otel", daemon=True) for target in (self._write, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def dropped(self) -> int:
        """Spans that no collector has. Right when the pipe is closed; before, those on their way are among them."""
        return self._handed - self._accepted

    def put(self, line: bytes, spans: int) -> None:
        """Hand over one item's line, which has so many spans. From one thread."""
        self._handed += spans
        if self._bytes_put - self._bytes_written <= self._most_waiting and self._process.poll() is None:
            self._bytes_put += len(line)
            self._lines.put(line)

    def close(self, timeout: float = CLOSE_S) -> None:
        """Let the sender send what is left, and end. After `timeout` seconds it is ended."""
        self._lines.put(None)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self.error = self.error or "the collector did not answer in time"
        for thread in self._threads:
            thread.join(1.0)
        if self.dropped and self.error is None:
            code = self._process.returncode
            self.error = f"the sender ended with exit code {code}" if code else "too many at once"

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(OSError), stdin:  # where it has ended, what it did not report counts as dropped
            while (line := self._lines.get()) is not None:
                stdin.write(line)
                self._bytes_written += len(line)
                if self._lines.empty():
                    stdin.flush()

    def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                told = cast("dict[str, Any]", orjson.loads(line))
                self._accepted = told["accepted"]
                self.error = told["why"] or None


def _with_this_package(path: str) -> str:
    """The search path, with the folder where this package was found last in it."""
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(entry for entry in (path, own) if entry)
