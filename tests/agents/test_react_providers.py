"""The agent with tools over real HTTP, in the dialects of the providers, with answers as crooked as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from running import run_here
from workflow import config_of

MODULE = """
def add(a: int, b: int = 1) -> int:
    "Add."
    return a + b
"""


class Provider:
    """Gives its answers in turn, each to one request; keeps the requests."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split()[0])
                self.asked.append(json.loads(await reader.readexactly(length)))
                body = json.dumps(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]).encode()
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def providing(*answers: dict[str, Any]) -> AsyncIterator[Provider]:
    provider = Provider(list(answers))
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    async with server:
        yield provider


async def line_from(folder: Path, kind: str, provider: Provider, **agent: Any) -> dict[str, Any]:
    (folder / "provider_tools.py").write_text(MODULE)
    url = f"http://127.0.0.1:{provider.port}" + ("/v1" if kind == "openai" else "")
    models = {"m": {"provider": kind, "model": "x", "base_url": url, "price": {"input": 1, "output": 1}, "retries": 0}}
    keys = {"model": "m", "prompt": "go", "tools": ["add"], **agent}
    agents = {"a": {key: value for key, value in keys.items() if value is not None}}
    tools = {"add": {"function": "provider_tools:add"}}
    (line,) = await run_here(config_of(folder, agents, models=models, tools=tools), {})
    return line


def openai(calls: list[Any] | None = None, content: Any = None, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage, "model": "x"}


def function(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_calls_alone_are_no_answer_of_an_agent_without_tools(tmp_path: Path) -> None:
    async with providing(openai([function("c", "add", "{}")], finish="tool_calls")) as provider:
        line = await line_from(tmp_path, "openai", provider, tools=None)
    assert (line["status"], line["output"], line["error"]["type"]) == ("error", None, "bad_response")
    assert "only calls add" in line["error"]["message"] and len(provider.asked) == 1
    assert line["usage"] == {"input_tokens": 10, "output_tokens": 5, "requests": 1}


async def test_crooked_calls_in_openais_dialect(tmp_path: Path) -> None:
    calls = [
        function(None, "add", '{"a": 1}'),
        function("same", "add", '{"a": 2}'),
        function("same", "add", '{"a": 3}'),
        function("list", "add", "[1, 2]"),
        function("object", "add", {"a": 4}),
        function("cut", "add", '{"a": '),
        function("none", "add", None),
        function("unknown", "rm_rf", "{}"),
    ]
    async with providing(openai(calls, finish="tool_calls"), openai(content="done")) as provider:
        line = await line_from(tmp_path, "openai", provider)
    assert line["output"] == "done"
    assert line["usage"] == {"input_tokens": 20, "output_tokens": 10, "requests": 2}
    _, asked, *results = provider.asked[1]["messages"]
    ids = [call["id"] for call in asked["tool_calls"]]
    assert len(set(ids)) == 8
    assert [result["tool_call_id"] for result in results] == ids
    contents = [result["content"] for result in results]
    assert [contents[n] for n in (0, 1, 2, 4)] == ["2", "3", "4", "5"]
    assert all(contents[n].startswith("Error: ") for n in (3, 5, 6, 7))
    for call in asked["tool_calls"]:
        json.loads(call["function"]["arguments"])  # what was cut must not go back: servers parse it


async def test_sixty_four_calls_in_openais_dialect(tmp_path: Path) -> None:
    calls = [function(f"c{n}", "add", json.dumps({"a": n})) for n in range(64)]
    async with providing(openai(calls), openai(content="done")) as provider:
        line = await line_from(tmp_path, "openai", provider, parallel_tool_calls=True)
    assert line["agents"]["a"]["tool_calls"] == 64
    assert [message["content"] for message in provider.asked[1]["messages"][2:]] == [str(n + 1) for n in range(64)]
    assert [asked["parallel_tool_calls"] for asked in provider.asked] == [True, True]


async def test_a_server_that_only_ever_calls_ends_at_max_turns(tmp_path: Path) -> None:
    async with providing(openai([function("c", "add", '{"a": 1}')])) as provider:
        line = await line_from(tmp_path, "openai", provider, max_turns=4)
    assert (line["status"], line["error"]["type"]) == ("error", "max_turns")
    assert len(provider.asked) == 4
    assert provider.asked[3]["tool_choice"] == "none"
    assert line["usage"]["requests"] == 4


def anthropic(*blocks: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {"type": "message", "content": list(blocks), "stop_reason": stop, "usage": usage, "model": "x"}


async def test_thinking_goes_back_as_it_came_and_all_results_in_one_turn(tmp_path: Path) -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    first = [
        thinking,
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "add", "input": {"a": "x"}},
        {"type": "tool_use", "id": "t3", "name": "none", "input": {}},
    ]
    async with providing(anthropic(*first, stop="tool_use"), anthropic({"type": "text", "text": "done"})) as provider:
        line = await line_from(tmp_path, "anthropic", provider, parallel_tool_calls=False)
    assert line["output"] == "done"
    user, assistant, results = provider.asked[1]["messages"]
    assert (user["role"], assistant["role"], results["role"]) == ("user", "assistant", "user")
    assert assistant["content"] == first
    assert [block["tool_use_id"] for block in results["content"]] == ["t1", "t2", "t3"]
    assert results["content"][0]["content"] == "2"
    assert provider.asked[0]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert provider.asked[0]["tools"][0]["input_schema"]["required"] == ["a"]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_the_forced_answer_in_each_dialect(tmp_path: Path, kind: str) -> None:
    call = (
        openai([function("c", "add", '{"a": 1}')])
        if kind == "openai"
        else anthropic({"type": "tool_use", "id": "c", "name": "add", "input": {"a": 1}})
    )
    words = openai(content="at last") if kind == "openai" else anthropic({"type": "text", "text": "at last"})
    async with providing(call, words) as provider:
        line = await line_from(tmp_path, kind, provider, max_turns=2)
    assert line["output"] == "at last"
    assert line["agents"]["a"]["forced_answer"] is True
    assert provider.asked[1]["tool_choice"] == ("none" if kind == "openai" else {"type": "none"})
    assert provider.asked[1]["tools"]
