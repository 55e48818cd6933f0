"""Hooks: the user's functions around models, tools and items. Real configs, real modules, the mock provider."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import forget_modules, run_here

from agentbatch import run_batch
from agentbatch.config import Config, config_shape, load
from agentbatch.errors import ConfigError

HOOKS = """
import asyncio
import os
import time
from dataclasses import replace
from agentbatch.hooks import Refused

seen = []

def mask(call):
    seen.append(call)
    masked = [replace(each, content=each.content.replace("secret", "[gone]")) for each in call.messages]
    return replace(call, messages=masked)

async def shout(answer):
    await asyncio.sleep(0)
    return replace(answer, text=answer.text.upper())

def keep(about):
    seen.append(about)

def refuse(about):
    raise Refused("not this one")

async def refuse_later(about):
    raise Refused("not this one")

def broken(about):
    raise KeyError("oops")

async def quits(about):
    raise SystemExit(3)

def wrong(about):
    return "a text"

def other_city(use):
    return replace(use, arguments={**use.arguments, "city": "Lima"})

def longer(result):
    return replace(result, result={"told": result.result})

def only_first(about):
    if about.item.id == "1":
        raise RuntimeError("only the first")

def stars(end):
    seen.append(end)
    return replace(end, output=f"*{end.output}*")

def hangs(about):
    time.sleep(30)

def lookup(city: str) -> str:
    "The weather."
    return f"sun in {city}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "my_hooks.py").write_text(HOOKS)
    yield tmp_path
    forget_modules(tmp_path)


def config_of(folder: Path, hooks: dict[str, Any], **sections: Any) -> Config:
    document = {
        "version": 1,
        "models": {"m": {"provider": "mock", "reply": "re: {{ messages[-1].content }}", **sections.pop("model", {})}},
        "agents": {"writer": {"model": "m", "prompt": "{{ input.text }}", **sections.pop("agent", {})}},
        "hooks": {key: value if key == "on_error" else named(value) for key, value in hooks.items()},
        **sections,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return load(path, environ={})


def named(functions: str | list[str]) -> str | list[str]:
    return f"my_hooks:{functions}" if isinstance(functions, str) else [f"my_hooks:{name}" for name in functions]


def seen() -> list[Any]:
    import my_hooks  # pyright: ignore[reportMissingImports]  # written by the test

    return my_hooks.seen  # pyright: ignore


TOOLS: dict[str, Any] = {
    "model": {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]},
    "tools": {"weather": {"function": "my_hooks:lookup"}},
    "agent": {"tools": ["weather"]},
}


async def test_what_is_sent_can_be_masked(folder: Path):
    (line,) = await run_here(config_of(folder, {"before_model": "mask"}), {"text": "a secret"})
    assert line["output"] == "re: a [gone]"
    (call,) = seen()
    assert (call.agent, call.model, call.item.fields) == ("writer", "m", {"text": "a secret"})


async def test_answers_can_be_rewritten_by_several_in_turn(folder: Path):
    (line,) = await run_here(config_of(folder, {"after_model": ["shout", "keep"]}), {"text": "a"})
    assert line["output"] == "RE: A"
    assert seen()[0].text == "RE: A"


@pytest.mark.parametrize("event", ["before_model", "after_model", "on_result"])
@pytest.mark.parametrize("function", ["refuse", "refuse_later"])
async def test_a_refusal_is_an_error_of_its_own_type(folder: Path, event: str, function: str):
    (line,) = await run_here(config_of(folder, {event: function}), {"text": "a"})
    assert (line["status"], line["error"]["type"], line["error"]["message"]) == ("error", "refused", "not this one")
    assert line["usage"]["requests"] == (0 if event == "before_model" else 1)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("broken", "KeyError: 'oops' (my_hooks.py:"),
        ("quits", "SystemExit: 3"),
        ("wrong", "returned str: expected ModelAnswer or None"),
    ],
)
async def test_a_hook_that_fails_fails_its_item(folder: Path, function: str, says: str):
    (line,) = await run_here(config_of(folder, {"after_model": function}), {"text": "a"})
    assert line["error"]["type"] == "function"
    assert line["error"]["message"].startswith(f"hook after_model my_hooks:{function}: {says}")


@pytest.mark.parametrize("event", ["before_model", "after_model", "on_result"])
async def test_or_is_ignored(folder: Path, event: str, caplog: pytest.LogCaptureFixture):
    (line,) = await run_here(config_of(folder, {event: "broken", "on_error": "ignore"}), {"text": "a"})
    assert (line["status"], line["output"]) == ("ok", "re: a")
    assert f"hook {event} my_hooks:broken: KeyError: 'oops'" in caplog.text


async def test_a_refusal_is_never_ignored(folder: Path):
    (line,) = await run_here(config_of(folder, {"before_model": "refuse", "on_error": "ignore"}), {"text": "a"})
    assert line["error"]["type"] == "refused"


async def test_other_items_go_on(folder: Path):
    lines = await run_here(config_of(folder, {"before_model": "only_first"}), *[{"text": "a"}] * 5)
    assert [line["status"] for line in lines] == ["error", "ok", "ok", "ok", "ok"]


async def test_retries_and_fallbacks_take_over_from_a_refused_answer(folder: Path):
    agents = {"writer": {"model": "m", "prompt": "a", "retries": 2}}
    (line,) = await run_here(config_of(folder, {"after_model": "refuse"}, agents=agents), {})
    assert line["usage"]["requests"] == 3


async def test_arguments_and_results_of_tools_can_be_changed(folder: Path):
    config = config_of(folder, {"before_tool": "other_city", "after_tool": ["keep", "longer"]}, **TOOLS)
    (line,) = await run_here(config, {"text": "a"})
    assert line["output"] == 're: {"told":"sun in Lima"}'
    (result,) = seen()
    assert (result.tool, result.agent, result.arguments, result.result) == (
        "weather",
        "writer",
        {"city": "Lima"},
        "sun in Lima",
    )


@pytest.mark.parametrize("event", ["before_tool", "after_tool"])
async def test_a_refused_tool_call_is_told_to_the_model(folder: Path, event: str):
    (line,) = await run_here(config_of(folder, {event: "refuse"}, **TOOLS), {"text": "a"})
    assert (line["status"], line["output"]) == ("ok", "re: Error: not this one")


@pytest.mark.parametrize("event", ["before_tool", "after_tool"])
async def test_a_tool_hook_that_fails_fails_the_item(folder: Path, event: str):
    (line,) = await run_here(config_of(folder, {event: "broken"}, **TOOLS), {"text": "a"})
    assert line["error"]["type"] == "function"
    assert line["error"]["message"].startswith(f"hook {event} my_hooks:broken: KeyError")


async def test_on_result_changes_the_output_and_hears_of_failures(folder: Path):
    (line,) = await run_here(config_of(folder, {"on_result": "stars"}), {"text": "a"})
    assert (line["output"], line["agents"]["writer"]["output"]) == ("*re: a*", "re: a")
    broken = config_of(folder, {"on_result": "stars"}, model={"errors": {"content_filter": 1}})
    (line,) = await run_here(broken, {"text": "a"})
    assert (line["error"]["type"], line["output"]) == ("content_filter", None)
    assert (seen()[-1].status, seen()[-1].error.type) == ("error", "content_filter")


async def test_a_hook_that_hangs_is_bounded_by_the_items_timeout(folder: Path):
    config = config_of(folder, {"before_model": "hangs"}, limits={"item_timeout": "50ms"})
    (line,) = await run_here(config, {"text": "a"})
    assert line["status"] == "timeout"


async def test_the_cache_knows_a_request_by_what_was_sent(folder: Path):
    hooks = {"before_model": "mask", "after_model": "shout"}
    config = config_of(folder, hooks, cache={"path": str(folder / "cache.sqlite")}, limits={"max_concurrency": 1})
    run = run_batch(config, [{"text": "a secret"}, {"text": "a [gone]"}])
    results = [result async for result in run]
    assert [result.output for result in results] == ["RE: A [GONE]"] * 2, "after_model runs on kept answers too"
    assert [result.usage.requests for result in results] == [1, 0], "both were one request"


def test_the_functions_belong_to_the_shape_of_a_run(folder: Path):
    plain = config_shape(config_of(folder, {}))
    masked = config_shape(config_of(folder, {"before_model": "mask"}))
    kept = config_shape(config_of(folder, {"before_model": "keep"}))
    assert "hooks.before_model" not in plain
    assert masked["hooks.before_model"] != kept["hooks.before_model"]


def test_a_function_that_is_not_there_is_found_when_the_config_is_read(folder: Path):
    with pytest.raises(ConfigError, match=r"my_hooks has no 'mas'[^\n]*mask") as found:
        config_of(folder, {"before_model": ["keep", "mas"], "on_result": "keep"})
    assert "config.yaml:" in str(found.value)


def test_what_is_no_hook_is_an_unknown_key(folder: Path):
    with pytest.raises(ConfigError, match="unknown key 'befor_model'"):
        config_of(folder, {"befor_model": "keep"})


async def test_the_trace_holds_what_was_sent(folder: Path):
    traces = folder / "t.jsonl"
    config = config_of(folder, {"before_model": "mask"}, trace={"content": True})
    async for _ in run_batch(config, [{"text": "a secret"}], traces=traces):
        pass
    assert "[gone]" in traces.read_text()
    chats = [line for line in traces.read_text().splitlines() if "a secret" in json.dumps(json.loads(line))]
    assert chats == []
