"""Whole processes, measured: wall time, CPU time, peak memory, and the local server that saw their calls.

The client side has core 0, the server core 1, so that neither takes from the other. This file imports nothing heavy:
a process's peak memory is at least that of the process that started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLIENT_CPU, SERVER_CPU = 0, 1
_HANG_S = 1800.0


@dataclass(frozen=True, slots=True)
class Run:
    """How one process went. Times are in seconds; `output` is the end of stdout and stderr.

    `stats` is what the server says of it; empty where there was none. `noise` is what else ran on the client's core,
    as a share of the wall time; None where that can't be read.
    """

    wall: float
    cpu: float
    rss_mb: float
    exit_code: int
    started_unix: float
    output: str
    noise: float | None = None
    stats: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def first_request(self) -> float | None:
        """Seconds from the process's start to its first request."""
        first = self.stats.get("first_request_unix")
        return None if first is None else first - self.started_unix

    @property
    def work(self) -> float | None:
        """Seconds from the first request to the last answer."""
        if self.stats.get("first_request_s") is None or self.stats.get("last_answer_s") is None:
            return None
        return self.stats["last_answer_s"] - self.stats["first_request_s"]


def stay_on_client_core() -> None:
    """Pin this process, and so all it starts, where there are two cores to share out."""
    if {CLIENT_CPU, SERVER_CPU} <= os.sched_getaffinity(0):
        os.sched_setaffinity(0, {CLIENT_CPU})


def agentbatch(*arguments: str) -> list[str]:
    """The command line of the CLI that is installed beside this Python."""
    script = Path(sys.executable).with_name("agentbatch")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "agentbatch"]
    return [*command, *arguments]


def compile_ahead() -> None:
    """Compile the package to byte code, as installing it does: else a fresh checkout is measured compiling."""
    folder = importlib.util.find_spec("agentbatch")
    if folder is not None and folder.origin is not None:
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(Path(folder.origin).parent)], check=False)


def run_process(command: Sequence[str], folder: Path, server: Server | None = None) -> Run:
    """Run a command to its end in `folder`, with files for its output, so that no pipe slows it down."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AGENTBATCH_")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    busy = _busy_seconds()
    with open(folder / "output.txt", "wb") as output:
        started_unix, began = time.time(), time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ
        )
        guard = threading.Timer(_HANG_S, process.kill)
        guard.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            guard.cancel()
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # reaped here, so that Popen does not look for it
    cpu = usage.ru_utime + usage.ru_stime
    busy_now = _busy_seconds()
    return Run(
        wall=wall,
        cpu=cpu,
        rss_mb=usage.ru_maxrss / 1024,
        exit_code=process.returncode,
        started_unix=started_unix,
        output=_end_of(folder / "output.txt"),
        noise=None if busy is None or busy_now is None else max(0.0, busy_now - busy - cpu) / wall,
        stats={} if server is None else server.stats(),
    )


def _busy_seconds() -> float | None:
    """CPU seconds spent on the client's core since boot, by anybody."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"cpu{CLIENT_CPU} "):
            user, nice, system, _idle, _wait, irq, softirq = (int(word) for word in line.split()[1:8])
            return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return None


def _end_of(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        return file.read().decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Server:
    """A `fast_server.py` that runs."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        """What it has seen so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving(latency: float, *options: str) -> Iterator[Server]:
    """A fresh server process on the other core, for as long as the `with` lasts."""
    command = [sys.executable, str(HERE / "fast_server.py"), "--latency", str(latency), *options]
    if os.sched_getaffinity(0) == {CLIENT_CPU}:
        # its start would otherwise inherit our one core
        command = ["taskset", "-c", str(SERVER_CPU), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
