"""A folder with a config and inputs, and the real program run in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from end_to_end.provider import PATIENCE_S

import agentbatch

ROOT = Path(agentbatch.__file__).resolve().parents[1]
KEY = "sk-test-0123456789abcdef"


def may_grow_to(size: int) -> list[str]:
    """In front of a command whose files may have so many bytes. It writes no bytecode, which Python would tear too."""
    return ["prlimit", f"--fsize={size}", "env", "PYTHONDONTWRITEBYTECODE=1"]


def environment(**changes: str | None) -> dict[str, str]:
    """What the program sees of the world: nothing that the tests happen to run in."""
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    base |= {"PYTHONPATH": str(ROOT), "TERM": "dumb", "TEST_KEY": KEY, "PYTHONWARNINGS": "default"}
    return {name: value for name, value in (base | changes).items() if value is not None}


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """What `--json` printed."""
        return json.loads(self.stdout)


class Running:
    """A run that goes on. Use as `with`: whatever happens, the process is gone afterwards."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        **more: Any,
    ) -> None:
        # files, not pipes: nobody has to read along, and nothing can block
        self._stdout, self._stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self.started = perf_counter()
        more = {"stdout": self._stdout, "stderr": self._stderr, "start_new_session": True, **more}
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=stdin, **more)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for file in (self._stdout, self._stderr, self.process.stdin, self.process.stdout, self.process.stderr):
            if file is not None:
                file.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> float:
        """Send a signal; returns the moment, by `perf_counter()`."""
        self.process.send_signal(number)
        return perf_counter()

    def kill(self) -> None:
        """SIGKILL to the process and its children, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def end(self, patience: float = PATIENCE_S) -> Ended:
        """Wait for its end."""
        code = self.process.wait(patience)
        seconds = perf_counter() - self.started
        return Ended(code, _content(self._stdout), _content(self._stderr).decode(), seconds)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


class Project:
    """One folder, one config, one results file: `in.results.jsonl`."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.base_url = base_url
        self.config: dict[str, Any] = {}
        self.configure()

    @property
    def results(self) -> Path:
        return self.folder / "in.results.jsonl"

    @property
    def inputs(self) -> Path:
        return self.folder / "in.jsonl"

    def configure(self, *, agents: Any = None, model: Mapping[str, Any] | None = None, **sections: Any) -> None:
        """Write the config: one agent on one model at the provider, with whatever a test wants otherwise."""
        fast = {
            "provider": "openai",
            "model": "test-model",
            "base_url": self.base_url,
            "api_key": "${TEST_KEY}",
            "max_concurrency": 8,
            "price": {"input": 1.0, "output": 1.0},
            **(model or {}),
        }
        writer = {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"}
        self.config = {"version": 1, "models": {"m": fast}, "agents": agents or {"writer": writer}, **sections}
        (self.folder / "config.yaml").write_text(json.dumps(self.config, indent=1))

    def give(self, inputs: int | Iterable[Any]) -> list[str]:
        """Write so many inputs, or these; returns the ids."""
        records = [{"text": f"text {number}"} for number in range(inputs)] if isinstance(inputs, int) else list(inputs)
        self.inputs.write_text("".join(json.dumps(record) + "\n" for record in records))
        return [str(number) for number in range(1, len(records) + 1)]

    def start(self, *args: str, env: Mapping[str, str | None] | None = None, under: Sequence[str] = (), **more: Any):
        """`agentbatch run config.yaml in.jsonl ARGS`, begun. `under` is a command in front of it, such as nohup."""
        return self.start_verb("run", "config.yaml", "in.jsonl", *args, env=env, under=under, **more)

    def start_verb(
        self, *args: str, env: Mapping[str, str | None] | None = None, under: Sequence[str] = (), **more: Any
    ) -> Running:
        """Any `agentbatch ARGS`, begun."""
        command = [*under, sys.executable, "-m", "agentbatch", *args]
        return Running(command, self.folder, environment(**(env or {})), **more)

    def run(self, *args: str, **more: Any) -> Ended:
        """`agentbatch run config.yaml in.jsonl ARGS`, to its end."""
        with self.start(*args, **more) as running:
            return running.end()

    def lines(self) -> list[dict[str, Any]]:
        """The results, each line parsed."""
        return [json.loads(line) for line in self.results.read_bytes().splitlines()]

    def by_id(self) -> dict[str, dict[str, Any]]:
        """The results by id; of several of one id the last."""
        return {str(line["id"]): line for line in self.lines()}
