"""Functions in processes: a crash costs its own call, a timeout ends the process, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentbatch.errors import FunctionFault
from agentbatch.transports.function_process import ProcessCaller

MODULE = """
import os
import subprocess
import sys
import time

def pid(x=0): return os.getpid()
def echo(x): return x
async def later(x): return x
def crash(x):
    if x == 1: os._exit(9)
    if x == 2: os.kill(os.getpid(), 11)
    time.sleep(0.2)
    return x
def leave(x): sys.exit(x)
def hang(path):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    open(path, "w").write(f"{os.getpid()} {child.pid}")
    time.sleep(1000)
def talk(): print("on stdout"); return "said"
"""

Calling = Callable[..., Any]


@pytest.fixture
async def caller_of(tmp_path: Path) -> AsyncIterator[Callable[[str], ProcessCaller]]:
    (tmp_path / "process_functions.py").write_text(MODULE)
    callers: list[ProcessCaller] = []

    def made(function: str) -> ProcessCaller:
        callers.append(ProcessCaller(f"process_functions:{function}", tmp_path))
        return callers[-1]

    yield made
    for caller in callers:
        await caller.close()


async def test_calls_go_to_another_process_which_is_used_again(caller_of: Calling) -> None:
    caller = caller_of("pid")
    first = await caller.call({})
    assert first != os.getpid()
    assert await caller.call({}) == first


async def test_values_of_any_size_come_back_as_they_went(caller_of: Calling) -> None:
    value = {"text": "ä" * 3_000_000, "list": [1, None, 2.5, {"deep": True}]}
    assert await caller_of("echo").call({"x": value}) == value
    assert await caller_of("later").call({"x": 3}) == 3


async def test_a_crash_fails_its_own_call_only(caller_of: Calling) -> None:
    caller = caller_of("crash")
    for _ in range(2):
        results = await asyncio.gather(*(caller.call({"x": n}) for n in range(5)), return_exceptions=True)
        assert [str(result) for result in results] == [
            "0",
            "the process of process_functions:crash died: exit code 9",
            "the process of process_functions:crash died: killed by signal 11",
            "3",
            "4",
        ]
        assert isinstance(results[1], FunctionFault)


async def test_an_exit_is_a_failure_like_any_other(caller_of: Calling) -> None:
    caller = caller_of("leave")
    for _ in range(2):
        with pytest.raises(FunctionFault, match=r"SystemExit: 5 \(process_functions\.py:\d+\)"):
            await caller.call({"x": 5})


async def test_a_call_that_is_given_up_ends_with_everything_it_started(caller_of: Calling, tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            call = asyncio.ensure_future(caller_of("hang").call({"path": str(noted)}))
            while not noted.exists() or not noted.read_text():
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            raise TimeoutError
    deadline = time.perf_counter() + 5
    while any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in noted.read_text().split()):
        assert time.perf_counter() < deadline
        await asyncio.sleep(0.01)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_missing_function_is_said_by_its_calls(caller_of: Calling) -> None:
    with pytest.raises(FunctionFault, match="has no 'pit', did you mean 'pid'"):
        await caller_of("pit").call({})


async def test_what_it_prints_is_not_on_stdout(caller_of: Calling, capfd: pytest.CaptureFixture[str]) -> None:
    caller = caller_of("talk")
    assert await caller.call({}) == "said"
    await caller.close()
    assert capfd.readouterr().out == ""
