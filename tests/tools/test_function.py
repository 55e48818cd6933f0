"""Python functions as tools, in whole configs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from running import LineOf, run_here
from workflow import config_of

from agentbatch.errors import ConfigError

MODULE = '''
import asyncio
import os
import time


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: one of them.
    """
    return a + b


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


here = 0


def meet(n: int) -> int:
    global here
    here += 1
    while here < 5:  # nobody leaves before all five are here
        time.sleep(0.001)
    return n


async def meet_async(n: int) -> int:
    global here
    here += 1
    while here < 5:
        await asyncio.sleep(0.001)
    return n


def who(user: str, query: str = "") -> dict:
    return {"user": user, "query": query, "pid": os.getpid()}


def stop(): raise SystemExit(7)
def quit_hard(): os._exit(7)
def key(): return os.environ.get("CANARY_KEY")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tool_functions.py").write_text(MODULE)
    return tmp_path


def calling(*calls: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    scripted = [{"name": name, "arguments": arguments} for name, arguments in calls]
    told = "{{ messages | selectattr('role', 'eq', 'tool') | map(attribute='content') | join('|') }}"
    return {"provider": "mock", "tool_calls": scripted, "reply": told, **more}


def one_agent(folder: Path, model: dict[str, Any], tools: dict[str, Any], **more: Any) -> Any:
    agents = {"a": {"model": "m", "prompt": "{{ input.q | default('go') }}", "tools": list(tools)}}
    return config_of(folder, agents, models={"m": model}, tools=tools, **more)


async def test_a_function_is_called_with_the_models_arguments(folder: Path, line_of: LineOf) -> None:
    tools = {"add": {"function": "tool_functions:add"}}
    line = await line_of(one_agent(folder, calling(("add", {"a": 2}), ("add", {"a": 2, "b": 3})), tools))
    assert line["output"] == "3|5"


async def test_presets_are_hidden_from_the_model_and_can_not_be_set_by_it(folder: Path, line_of: LineOf) -> None:
    tools = {"who": {"function": "tool_functions:who", "arguments": {"user": "{{ input.user }}"}}}
    model = calling(("who", {"query": "x"}), ("who", {"user": "root"}))
    line = await line_of(one_agent(folder, model, tools), {"user": 17})
    first, second = line["output"].split("|")
    assert first.startswith('{"user":17,"query":"x"')
    assert second.startswith("Error: the arguments don't fit")
    assert "'user' was unexpected" in second


async def test_what_a_function_raises_is_told_and_the_run_goes_on(folder: Path, line_of: LineOf) -> None:
    tools = {
        "stop": {"function": "tool_functions:stop"},
        "quit_hard": {"function": "tool_functions:quit_hard", "executor": "process"},
    }
    line = await line_of(one_agent(folder, calling(("stop", {}), ("quit_hard", {})), tools))
    assert line["status"] == "ok"
    assert line["output"].startswith("Error: SystemExit: 7 (tool_functions.py:")
    assert line["output"].endswith("|Error: the process of tool_functions:quit_hard died: exit code 7")


@pytest.mark.parametrize("function", ["meet", "meet_async"])
async def test_five_calls_of_one_turn_run_at_once(folder: Path, function: str, line_of: LineOf) -> None:
    tools = {"meet": {"function": f"tool_functions:{function}", "timeout": "20s"}}
    config = one_agent(folder, calling(*(("meet", {"n": n}) for n in range(5))), tools)
    assert (await line_of(config))["output"] == "0|1|2|3|4"


async def test_a_sync_tool_holds_up_no_other_item(folder: Path) -> None:
    tools = {"nap": {"function": "tool_functions:slow", "timeout": "100ms"}}
    config = one_agent(folder, calling(("nap", {"seconds": 0.5})), tools)
    running = asyncio.ensure_future(run_here(config, *[{}] * 20))
    turns = 0
    while not running.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert {line["output"] for line in await running} == {"Error: nap worked for longer than its timeout of 0.1 s"}
    assert turns > 10  # a blocked loop would have had two or three


async def test_at_most_so_many_at_once(folder: Path) -> None:
    tools = {"nap": {"function": "tool_functions:slow", "max_concurrency": 1, "timeout": "150ms"}}
    config = one_agent(folder, calling(*[("nap", {"seconds": 0.1})] * 3), tools)
    began = time.perf_counter()
    (line,) = await run_here(config, {})
    assert line["output"] == "0.1|0.1|0.1"  # the time in the queue is no part of the timeout
    assert time.perf_counter() - began >= 0.3


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"function": "tool_functions:ad"}, "has no 'ad', did you mean 'add'"),
        ({"function": "no_such_tools:f"}, "there is no module 'no_such_tools'"),
        ({"function": "tool_functions"}, "expected module:function"),
        ({"function": "tool_functions:add", "parameters": {"a": "strin"}}, "did you mean 'string'"),
        ({"function": "tool_functions:add", "executer": "process"}, "unknown key 'executer'"),
        ({"functon": "tool_functions:add"}, "a tool has one of the keys"),
        ({"function": "tool_functions:add", "command": ["ls"]}, "a tool has one of 'function' and 'command', not both"),
    ],
)
def test_a_tool_that_can_not_be_is_found_when_the_config_is_loaded(
    folder: Path, tool: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        one_agent(folder, calling(), {"t": tool})


def test_the_name_of_a_tool_is_one_that_providers_take(folder: Path) -> None:
    with pytest.raises(ConfigError, match="the name 'my tool' is none of a tool"):
        one_agent(folder, calling(), {"my tool": {"function": "tool_functions:add"}})
