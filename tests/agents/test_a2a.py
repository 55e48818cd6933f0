"""Remote agents that speak Agent2Agent 1.0: a made one for every answer there is, and a real server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from agents.job_server import Asked, serving
from running import run_here

from agentbatch.calls.a2a_protocol import card_url, endpoint_of, read_answer
from agentbatch.config import Config, load
from agentbatch.errors import BadRequest, BadResponse, ServerFault

KEY = "a2a-key-0123456789"
DONE = {"id": "t1", "status": {"state": "TASK_STATE_COMPLETED"}, "artifacts": [{"parts": [{"text": "made"}]}]}


def config(folder: Path, url: str, **agent: Any) -> Config:
    remote = {"kind": "a2a", "url": url, "prompt": "{{ input.q }}", "every": "20ms", "retries": 2, **agent}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "agents": {"remote": remote}}, sort_keys=False))
    return load(path, environ={"A2A_KEY": KEY})


async def one(folder: Path, url: str, question: str = "why?", **agent: Any) -> dict[str, Any]:
    (line,) = await run_here(config(folder, url, **agent), {"q": question})
    return line


def task(state: str, said: str = "", **more: Any) -> dict[str, Any]:
    message = {"message": {"parts": [{"text": said}]}} if said else {}
    return {"id": "t1", "status": {"state": f"TASK_STATE_{state}", **message}, **more}


class Remote:
    """Answers each JSON-RPC method in turn; the last answer again and again."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, Any]] = []

    def card(self, asked: Asked) -> Any:
        url = f"http://{asked.headers['host']}/rpc"
        interfaces = [
            {"url": "https://elsewhere.example", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        ]
        return 200, {}, {"name": "made", "supportedInterfaces": interfaces}

    def rpc(self, asked: Asked) -> Any:
        method = asked.json["method"]
        turn = sum(before == method for before, _ in self.calls)
        self.calls.append((method, asked.json["params"]))
        answers = self.answers[method]
        found = answers[min(turn, len(answers) - 1)]
        if isinstance(found, int):
            return found, {}, "no"
        return 200, {}, {"jsonrpc": "2.0", "id": 1, **(found if "error" in found else {"result": found})}

    def serving(self) -> Any:
        return serving(**{".well-known_agent-card.json": [self.card], "rpc": [self.rpc]})

    def count(self, method: str) -> int:
        return sum(each == method for each, _ in self.calls)


async def test_a_message_is_answered_at_once(tmp_path: Path) -> None:
    remote = Remote(SendMessage=[{"message": {"role": "ROLE_AGENT", "parts": [{"text": "hi"}, {"data": {"n": 1}}]}}])
    async with remote.serving() as server:
        line = await one(tmp_path, server.url, headers={"Authorization": "Bearer ${A2A_KEY}"})
    assert line["output"] == 'hi\n{"n":1}'
    assert remote.calls[0][1]["message"]["parts"] == [{"text": "why?"}]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    assert {asked.headers["a2a-version"] for asked in server.asked} == {"1.0"}
    assert line["trace_id"] in server.asked[1].headers["traceparent"]


async def test_a_task_is_waited_for_and_its_artifacts_are_the_output(tmp_path: Path) -> None:
    begun, data = {"task": task("SUBMITTED")}, [{"parts": [{"data": {"answer": 42}}]}]
    remote = Remote(SendMessage=[begun], GetTask=[task("WORKING"), 503, task("COMPLETED", artifacts=data)])
    async with remote.serving() as server:
        line = await one(tmp_path, server.url, output="answer")
    assert (line["output"], remote.count("SendMessage"), remote.count("GetTask")) == (42, 1, 3)
    assert remote.calls[-1][1] == {"id": "t1"}


async def test_the_card_is_read_once_for_all_items(tmp_path: Path) -> None:
    remote = Remote(SendMessage=[{"task": DONE}])
    async with remote.serving() as server:
        lines = await run_here(config(tmp_path, server.url, max_concurrency=4), *({"q": n} for n in range(20)))
    assert {line["output"] for line in lines} == {"made"}
    assert (server.count("/.well-known/agent-card.json"), server.peak) == (1, 4)
    assert len({params["message"]["messageId"] for _, params in remote.calls}) == 20


async def test_a_message_that_is_sent_again_is_the_same_message(tmp_path: Path) -> None:
    remote = Remote(SendMessage=[503, {"task": DONE}])
    async with remote.serving() as server:
        assert (await one(tmp_path, server.url))["output"] == "made"
    first, second = (params["message"]["messageId"] for _, params in remote.calls)
    assert first == second


@pytest.mark.parametrize(
    ("answer", "kind", "words", "sent"),
    [
        ({"task": task("FAILED", "no luck")}, "server", "the agent's task failed: no luck", 1),
        ({"task": task("CANCELED")}, "server", "was cancelled", 1),
        ({"task": task("REJECTED", "never")}, "bad_request", "rejected the task: never", 1),
        ({"task": task("INPUT_REQUIRED", "which?")}, "bad_response", "wants more input, .*: which", 1),
        ({"task": task("AUTH_REQUIRED")}, "bad_response", "wants to be authorised", 1),
        ({"error": {"code": -32602, "message": "what?"}}, "bad_request", "declined: what", 1),
        ({"error": {"code": -32603, "message": "oops"}}, "server", "declined: oops", 3),
        ({"task": {}}, "bad_response", "neither a message nor a task", 3),
        (401, "auth", "HTTP 401", 1),
        (500, "server", "HTTP 500", 3),
    ],
)
async def test_each_failure_has_its_type(tmp_path: Path, answer: Any, kind: str, words: str, sent: int) -> None:
    remote = Remote(SendMessage=[answer])
    async with remote.serving() as server:
        line = await one(tmp_path, server.url)
    assert (line["status"], line["error"]["type"], remote.count("SendMessage")) == ("error", kind, sent)
    assert re.search(words, line["error"]["message"])


async def test_a_card_that_sends_elsewhere_is_refused_and_an_endpoint_needs_no_card(tmp_path: Path) -> None:
    card = {
        "supportedInterfaces": [{"url": "http://127.0.0.1:9/", "protocolBinding": "JSONRPC", "protocolVersion": "1"}]
    }
    async with serving(**{"card.json": [(200, {}, card)], "rpc": [(200, {}, {"result": {"task": DONE}})]}) as server:
        line = await one(tmp_path, f"{server.url}/card.json")
        assert "on another server" in line["error"]["message"]
        line = await one(tmp_path, f"{server.url}/card.json", endpoint=f"{server.url}/rpc")
    assert line["output"] == "made"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"result": []}', b'{"result": {"task": {"status": 3}}}', b"\xff"],
)
def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse):
        read_answer(body)


@pytest.mark.parametrize(
    "card",
    [b"{}", b'{"supportedInterfaces": {"a": 1}}', b'{"supportedInterfaces": [3]}', b'{"url": "x"}', b"<html>",
     b'{"supportedInterfaces": [{"url": "x", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}]}'],
)  # fmt: skip
def test_a_card_without_our_interface_is_refused(card: bytes) -> None:
    with pytest.raises(BadResponse):
        endpoint_of(card)


def test_errors_are_ours() -> None:
    with pytest.raises(BadRequest):
        read_answer(b'{"error": "no"}')
    with pytest.raises(ServerFault) as fault:
        read_answer(b'{"error": {"code": -32603}}')
    assert fault.value.retryable


def test_where_a_card_is() -> None:
    assert card_url("http://a/b/") == "http://a/b/.well-known/agent-card.json"
    assert card_url("http://a/card.json") == "http://a/card.json"


async def test_a_task_that_a_killed_run_began_is_not_begun_again(tmp_path: Path) -> None:
    remote = Remote(SendMessage=[{"task": task("SUBMITTED")}], GetTask=[task("WORKING")])
    async with remote.serving() as server:
        config(tmp_path, server.url)
        (tmp_path / "in.jsonl").write_text('{"q": "why?"}\n')
        words = [sys.executable, "-m", "agentbatch", "run", "config.yaml", "in.jsonl", "-q"]
        first = await asyncio.create_subprocess_exec(*words, cwd=tmp_path, start_new_session=True)
        async with asyncio.timeout(60):
            while remote.count("GetTask") < 3:
                await asyncio.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        await first.wait()
        remote.answers["GetTask"] = [DONE]
        again = await asyncio.create_subprocess_exec(*words, cwd=tmp_path)
        async with asyncio.timeout(60):
            assert await again.wait() == 0
    (line,) = map(json.loads, (tmp_path / "in.results.jsonl").read_text().splitlines())
    assert (line["output"], remote.count("SendMessage")) == ("made", 1)


@pytest.fixture
def sdk_server() -> Iterator[str]:
    """The SDK's own server, in this Python or in the one that A2A_SERVER_PYTHON names."""
    python = os.environ.get("A2A_SERVER_PYTHON", sys.executable)
    if python == sys.executable and importlib.util.find_spec("a2a") is None:
        pytest.skip(
            "needs a2a-sdk, starlette, sse-starlette and uvicorn, here or in the Python A2A_SERVER_PYTHON names"
        )
    script = Path(__file__).with_name("a2a_sdk_server.py")
    process = subprocess.Popen([python, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
async def test_the_sdks_own_server(tmp_path: Path, sdk_server: str) -> None:
    made = config(tmp_path, sdk_server)
    lines = await run_here(made, *({"q": q} for q in ("say hello", "work", "fail", "ask")))
    assert [line["output"] for line in lines] == ["said say hello", "did work", None, None]
    assert [line["error"] and line["error"]["message"] for line in lines[2:]] == [
        "the agent's task failed: no luck today",
        "the agent wants more input, which nobody here can give: which one?",
    ]


@pytest.mark.slow
async def test_aimock(tmp_path: Path) -> None:
    node, program = shutil.which("node"), os.environ.get("AIMOCK_MODULE")
    if node is None or program is None:
        pytest.skip("needs node, and AIMOCK_MODULE: the path of @copilotkit/aimock's dist/a2a-mock.js")
    script = tmp_path / "serve.mjs"
    script.write_text(
        f"import {{ A2AMock }} from {json.dumps(program)};\n"
        "const mock = new A2AMock();\n"
        'mock.registerAgent({ name: "worker" });\n'
        'mock.onMessage("worker", "hello", [{ text: "hi there" }]);\n'
        'mock.onTask("worker", "work", [{ parts: [{ text: "done" }] }]);\n'
        "console.log(await mock.start());\n"
    )
    process = await asyncio.create_subprocess_exec(node, str(script), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        lines = await run_here(config(tmp_path, url), {"q": "hello"}, {"q": "work"}, {"q": "else"})
    finally:
        process.kill()
        await process.wait()
    assert [line["output"] for line in lines] == ["hi there", "done", None]
    assert lines[2]["error"]["type"] == "bad_request"
    assert "No matching pattern" in lines[2]["error"]["message"]
