"""Python functions as agents: what their signatures ask for, and that whatever they do is their item's own affair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from running import run_here
from workflow import ECHO

from agentbatch.config import Config, load
from agentbatch.errors import ConfigError

MODULE = """
import os
import sys
import threading
import time
from datetime import date

def clean(input, item):
    input["seen"] = True
    return {"text": input["text"].strip(), "id": item["id"], "index": item["index"]}

def score(clean, writer, weight=2, *, late=None):
    return {"length": len(clean["text"]) * weight, "wrote": writer, "late": late}

def odd(input): return {"when": date(2026, 1, 2), "set": {1}, "nan": float("nan"), "bytes": b"x"}
def nothing(): return None
def first(first): return first
def second(second): return second
def crash(input):
    if input["text"] == "boom": os._exit(3)
    return input["text"]
def leave(input): sys.exit(3)
def hang(): time.sleep(30)
def pid(): return os.getpid()

here = most = 0
lock = threading.Lock()
def crowd():
    global here, most
    with lock:
        here += 1
        most = max(most, here)
    time.sleep(0.02)
    with lock: here -= 1
    return most
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent_functions.py").write_text(MODULE)
    return tmp_path


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "function", "function": f"agent_functions:{name}", **more}


def config(folder: Path, agents: dict[str, Any], **sections: Any) -> Config:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "agents": agents, **sections}, sort_keys=False))
    return load(path, environ={})


async def test_a_signature_says_what_a_function_is_given(folder: Path) -> None:
    agents = {
        "score": function("score", arguments={"weight": "{{ input.weight }}"}),
        "clean": function("clean"),
        "writer": {"model": "echo", "prompt": "{{ clean.output.text }}!"},
    }
    made = config(folder, agents, models={"echo": {**ECHO, "latency": 0}})  # a graph: in the order of who needs whom
    (line,) = await run_here(made, {"text": " hello ", "weight": 3})
    assert line["agents"]["clean"]["output"] == {"text": "hello", "id": "1", "index": 0}
    assert line["agents"]["score"]["output"] == {"length": 15, "wrote": "hello!", "late": None}


async def test_what_a_function_changes_in_its_input_nobody_else_sees(folder: Path) -> None:
    agents = {"clean": function("clean"), "after": {"model": "echo", "prompt": "{{ input }}"}}
    made = config(folder, agents, models={"echo": {**ECHO, "latency": 0}}, workflow=["clean", "after"])
    (line,) = await run_here(made, {"text": "x"})
    assert line["output"] == '{"text":"x"}'


async def test_a_step_that_did_not_run_is_none(folder: Path) -> None:
    agents = {
        "clean": function("clean"),
        "writer": {"model": "echo", "prompt": "x", "when": "false"},
        "score": function("score"),
    }
    made = config(folder, agents, models={"echo": ECHO}, workflow=["clean", "writer", "score"])
    (line,) = await run_here(made, {"text": "x"})
    assert line["output"] == {"length": 2, "wrote": None, "late": None}


async def test_an_output_is_plain_json(folder: Path) -> None:
    for executor in ("thread", "process"):
        (line,) = await run_here(config(folder, {"a": function("odd", executor=executor)}), {})
        assert line["output"] == {"when": "2026-01-02", "set": [1], "nan": None, "bytes": "x"}
    (line,) = await run_here(config(folder, {"a": function("nothing")}), {})
    assert (line["status"], line["output"]) == ("ok", None)


async def test_an_exit_and_a_crash_cost_their_own_item_only(folder: Path) -> None:
    lines = await run_here(config(folder, {"a": function("leave")}), {})
    assert lines[0]["error"]["type"] == "function"
    assert lines[0]["error"]["message"].startswith("SystemExit: 3 (agent_functions.py:")
    texts = ["a", "boom", "b", "c"]
    lines = await run_here(
        config(folder, {"a": function("crash", executor="process")}), *({"text": text} for text in texts)
    )
    assert [line["status"] for line in lines] == ["ok", "error", "ok", "ok"]
    assert "died: exit code 3" in lines[1]["error"]["message"]


async def test_a_hanging_function_ends_at_the_agents_timeout(folder: Path) -> None:
    for executor in ("thread", "process"):
        made = config(folder, {"a": function("hang", executor=executor, timeout="300ms")})
        (line,) = await run_here(made, {})
        assert (line["status"], line["error"]["type"]) == ("timeout", "timeout")


async def test_so_many_run_at_once_and_the_others_queue(folder: Path) -> None:
    lines = await run_here(config(folder, {"a": function("crowd", max_concurrency=3)}), *[{}] * 12)
    assert max(line["output"] for line in lines) <= 3
    assert max(line["queued_s"] for line in lines) > 0.03
    lines = await run_here(config(folder, {"a": function("pid", executor="process", max_concurrency=1)}), *[{}] * 5)
    assert len({line["output"] for line in lines}) == 1


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (function("score"), "its parameter 'clean' is given nothing"),
        (function("clean", arguments={"wait": 1}), "has no parameter 'wait'"),
        (function("clear"), "did you mean 'clean'"),
        ({"kind": "function"}, "missing key 'function'"),
        (function("score", arguments={"clean": 1, "writer": "{{ nobody.output }}"}), "unknown name 'nobody'"),
    ],
)
def test_what_can_not_be_called_is_found_when_the_config_is_loaded(
    folder: Path, agent: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        config(folder, {"a": agent})


def test_functions_that_wait_for_each_other_are_a_circle(folder: Path) -> None:
    with pytest.raises(ConfigError, match="wait for each other"):
        config(folder, {"first": function("second"), "second": function("first")})
