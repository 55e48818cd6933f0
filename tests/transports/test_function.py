"""The user's functions: found, called, and contained whatever they raise."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from agentbatch.errors import ConfigError, FunctionFault
from agentbatch.transports.function import ThreadCaller, is_async, load_function
from agentbatch.transports.threads import Threads

MODULE = """
import asyncio
import datetime
import enum
import sys
import threading
import time
from dataclasses import dataclass


@dataclass
class Box:
    width: float


class Size(enum.Enum):
    S = "s"


def twice(x): return 2 * x
async def later(x):
    await asyncio.sleep(0)
    return 3 * x
def lazy(x): return later(x)
def each(n):
    for x in range(n): yield x
def typed(box: Box, size: Size, day: datetime.date): return [box.width, size.name, day.year]
def where(): return threading.current_thread().name
def sleep(s): time.sleep(s); return s
class Shelf:
    @staticmethod
    def find(x): return f"found {x}"
    async def __call__(self, x): return x
shelf = Shelf()

def raising(kind):
    raise make(kind)
async def raising_later(kind):
    await asyncio.sleep(0)
    raise make(kind)
def make(kind):
    if kind == "recursion":
        return make(make(kind))
    return {
        "exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit(),
        "group": BaseExceptionGroup("two", [ValueError("a"), SystemExit(1)]), "value": ValueError("no such city"),
        "cancelled": asyncio.CancelledError(), "timeout": TimeoutError("own"), "stop": StopIteration(4),
    }[kind]
class Odd(Exception):
    def __str__(self): raise RuntimeError("no text")
def odd(): raise Odd
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """The name of a module beside a config; nobody has imported it yet."""
    name = f"users_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    path = list(sys.path)
    yield name
    sys.path[:] = path
    sys.modules.pop(name, None)


@pytest.fixture
def call(module: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    threads = Threads()

    async def called(function: str, **arguments: Any) -> Any:
        return await ThreadCaller(load_function(f"{module}:{function}", tmp_path), threads).call(arguments)

    yield called
    threads.close()


async def test_sync_and_async_functions_are_called(call: Callable[..., Any]) -> None:
    assert await call("twice", x=2) == 4
    assert await call("later", x=2) == 6
    assert await call("lazy", x=2) == 6
    assert await call("Shelf.find", x=2) == "found 2"
    assert await call("shelf", x=2) == 2
    assert await call("each", n=3) == [0, 1, 2]
    assert await call("where") != threading.current_thread().name


async def test_json_values_become_what_the_hints_say(call: Callable[..., Any]) -> None:
    assert await call("typed", box={"width": 2}, size="s", day="2026-01-02") == [2.0, "S", 2026]
    with pytest.raises(FunctionFault, match="width"):
        await call("typed", box={"height": 2}, size="s", day="2026-01-02")


KINDS = {
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "generator": "GeneratorExit",
    "group": "BaseExceptionGroup: two",
    "value": "ValueError: no such city",
    "recursion": "RecursionError",
    "cancelled": "CancelledError",
    "timeout": "TimeoutError: own",
    "stop": "StopIteration|RuntimeError",
}


@pytest.mark.parametrize("function", ["raising", "raising_later"])
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_a_function_raises_is_its_own_failure(
    call: Callable[..., Any], function: str, kind: str
) -> None:
    with pytest.raises(FunctionFault, match=KINDS[kind]) as fault:
        await call(function, kind=kind)
    assert fault.value.type == "function"
    assert await call("twice", x=1) == 2  # and the loop goes on


async def test_a_failure_names_the_users_line(call: Callable[..., Any], module: str) -> None:
    line = MODULE.splitlines().index("    raise make(kind)") + 1
    with pytest.raises(FunctionFault, match=rf"^ValueError: no such city \({module}\.py:{line}\)$"):
        await call("raising", kind="value")
    with pytest.raises(FunctionFault, match="without a text: RuntimeError"):
        await call("odd")
    with pytest.raises(FunctionFault, match="unexpected keyword argument 'y'"):
        await call("twice", y=1)


async def test_a_blocking_function_blocks_nobody(call: Callable[..., Any]) -> None:
    sleeping = asyncio.ensure_future(call("sleep", s=0.3))
    turns = 0
    while not sleeping.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert await sleeping == 0.3
    assert turns > 5  # a blocked loop would have had one


async def test_a_cancelled_call_returns_at_once_and_its_thread_is_used_again(call: Callable[..., Any]) -> None:
    began = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call("sleep", s=2.0)
    assert time.perf_counter() - began < 1.9
    first, *others = [await call("where") for _ in range(3)]
    assert len({first, *others}) == 1


async def test_a_timeout_from_outside_is_no_failure_of_the_function(call: Callable[..., Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            while True:
                await call("later", x=1)


def test_a_coroutine_thrown_away_does_not_complain(module: str, tmp_path: Path) -> None:
    caller = ThreadCaller(load_function(f"{module}:later", tmp_path), Threads())
    coroutine = caller.call({"x": 1})
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0, loop.time()))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{module}:twise", "has no 'twise', did you mean 'twice'"),
        ("{module}:Shelf.fnd", "has no 'Shelf.fnd', did you mean 'find'"),
        ("{module}:MODULE.x", "has no 'MODULE.x'"),
        ("{module}", "expected module:function"),
        ("no_such_module_here:f", "there is no module 'no_such_module_here'"),
        ("sys:path", "sys:path is no function, but list"),
    ],
)
def test_a_function_that_is_not_there_is_said_so(module: str, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_function(name.format(module=module), tmp_path)


@pytest.mark.parametrize("text", ["import no_such_thing", "def", "raise SystemExit(3)", "1 / 0"])
def test_a_module_that_can_not_be_imported_is_said_so(tmp_path: Path, text: str) -> None:
    name = f"broken_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError, match=f"importing {name} failed: .*Error|SystemExit"):
        load_function(f"{name}:f", tmp_path)


def test_a_module_beside_the_config_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text(dedent("def f(): return 'mine'"))
    with pytest.raises(ConfigError, match=r"random is .*, not .*random\.py: it goes by a name that is taken"):
        load_function("random:f", tmp_path)
    assert load_function("random:choice", Path("/")).__module__ == "random"


def test_what_is_async_is_known_before_it_is_called(module: str, tmp_path: Path) -> None:
    found = {name: is_async(load_function(f"{module}:{name}", tmp_path)) for name in ("twice", "later", "shelf")}
    assert found == {"twice": False, "later": True, "shelf": True}
