"""A project for runs on Ray: a config with two agents in a row, and inputs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 50ms, max_concurrency: 40}}
agents:
  first: {model: m, prompt: "Hello {{ input.n }}"}
  second: {model: m, prompt: "More of {{ first.output }}"}
workflow: [first, second]
"""


def hear_interrupts() -> None:
    """A shell begins what it runs in the background with SIGINT ignored, which children of tests would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def told_by(process: subprocess.Popen[str], timeout: float) -> str:
    """What it said on stderr until its end. One that does not end in time is killed, and fails the test."""
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        process.kill()
        _, said = process.communicate()
        raise AssertionError(f"still there after {timeout:g} s: {said}") from late
    return said


@dataclass
class RayProject:
    """A folder in which `agentbatch run` runs on Ray."""

    folder: Path
    config: str = CONFIG

    def write(self, items: int, inputs: Iterable[Any] | None = None) -> None:
        """The config, and so many inputs."""
        (self.folder / "c.yaml").write_text(self.config, "utf-8")
        lines = [json.dumps(each) for each in (inputs or ({"n": n} for n in range(items)))]
        (self.folder / "in.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def command(self, *options: str) -> list[str]:
        """The command line."""
        return [
            *(sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "--engine", "ray", "--progress", "none"),
            *options,
        ]

    def start(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        """The run, under way."""
        hear_interrupts()
        return subprocess.Popen(
            self.command(*options),
            cwd=self.folder,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, timeout: float = 180, **environ: str) -> tuple[int, str]:
        """The run to its end: its exit code, and what it said on stderr."""
        process = self.start(*options, **environ)
        said = told_by(process, timeout)
        return process.returncode, said

    def results(self) -> list[dict[str, Any]]:
        """The result lines of a run that has ended, in input order."""
        lines = [json.loads(line) for line in self._written().splitlines()]
        return sorted(lines, key=lambda line: line["index"])

    def lines(self) -> int:
        """How many result lines there are so far; of one that is being written a reader may see a part."""
        return self._written().count(b"\n")

    def _written(self) -> bytes:
        path = self.folder / "in.results.jsonl"
        return path.read_bytes() if path.exists() else b""
