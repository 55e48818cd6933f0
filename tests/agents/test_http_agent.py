"""Remote agents behind an endpoint: at once, or as jobs; failures by their types; one retry layer; keys kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from agents.job_server import Asked, JobServer, serving
from running import run_here

from agentbatch.config import Config, load
from agentbatch.errors import ConfigError

OK = (200, {}, {"data": {"answer": 42}})
KEY = "agent-key-0123456789"


def config(folder: Path, server: JobServer, **agent: Any) -> Config:
    path = folder / "config.yaml"
    remote = {"kind": "http", "url": f"{server.url}/ask", "body": {"q": "{{ input.q }}"}, "retries": 2, **agent}
    path.write_text(yaml.safe_dump({"version": 1, "agents": {"remote": remote}}, sort_keys=False))
    return load(path, environ={"AGENT_KEY": KEY})


async def one(folder: Path, server: JobServer, **agent: Any) -> dict[str, Any]:
    (line,) = await run_here(config(folder, server, **agent), {"q": "why?"})
    return line


async def test_an_answer_at_once(tmp_path: Path) -> None:
    async with serving(ask=[OK]) as server:
        line = await one(tmp_path, server, output="data.answer", headers={"Authorization": "Bearer ${AGENT_KEY}"})
    assert (line["status"], line["output"]) == ("ok", 42)
    assert line["usage"] == {"input_tokens": 0, "output_tokens": 0, "requests": 1}
    (asked,) = server.asked
    assert (asked.method, asked.json) == ("POST", {"q": "why?"})
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert line["trace_id"] in asked.headers["traceparent"]


async def test_what_it_says_it_used_is_counted(tmp_path: Path) -> None:
    said = {"text": "hi", "usage": {"in": 3, "out": 4, "usd": 0.5}}
    usage = {"input_tokens": "usage.in", "output_tokens": "usage.out", "cost_usd": "usage.usd"}
    async with serving(ask=[(200, {}, said)]) as server:
        line = await one(tmp_path, server, output="text", usage=usage)
    assert line["usage"] == {"input_tokens": 3, "output_tokens": 4, "requests": 1}
    assert line["cost_usd"] == 0.5


@pytest.mark.parametrize(
    ("answer", "kind", "asked"),
    [
        ((400, {}, "bad q"), "bad_request", 1),
        ((401, {}, "who?"), "auth", 1),
        ((402, {}, "pay"), "quota", 1),
        ((404, {}, "no"), "bad_request", 1),
        ((302, {"location": "http://127.0.0.1:9/"}, ""), "bad_request", 1),
        ((500, {"x-should-retry": "false"}, "no"), "server", 1),
        ((500, {}, "no"), "server", 3),
        ((503, {}, "later"), "overloaded", 3),
        ((200, {}, "<html>"), "bad_response", 3),
        ((200, {}, {"data": {}}), "bad_response", 1),
    ],
)
async def test_failures_have_their_types_and_only_those_that_may_pass_are_tried_again(
    tmp_path: Path, answer: Any, kind: str, asked: int
) -> None:
    async with serving(ask=[answer]) as server:
        line = await one(tmp_path, server, output="data.answer")
    assert (line["status"], line["error"]["type"]) == ("error", kind)
    assert line["error"]["http_status"] == (answer[0] if answer[0] != 200 else None)
    assert (line["error"]["attempts"], len(server.asked)) == (asked, asked)


async def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    async with serving(ask=[(503, {"retry-after": "0.05"}, ""), (429, {"retry-after-ms": "20"}, ""), OK]) as server:
        line = await one(tmp_path, server, output="json")
    assert (line["output"], line["agents"]["remote"]["attempts"]) == (OK[2], 3)


async def test_a_server_that_hangs_is_left_after_its_request_timeout(tmp_path: Path) -> None:
    async with serving(ask=[(200, {}, None), OK]) as server:
        assert (await one(tmp_path, server, request_timeout="200ms"))["status"] == "ok"
    async with serving(ask=[(200, {}, None)]) as server:
        line = await one(tmp_path, server, timeout="200ms")
        assert (line["status"], line["error"]["type"]) == ("timeout", "timeout")


async def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    async with serving(ask=[OK]) as server:
        lines = await run_here(config(tmp_path, server, max_concurrency=3), *({"q": n} for n in range(12)))
    assert ([line["status"] for line in lines], server.peak) == (["ok"] * 12, 3)


async def test_a_refused_key_ends_the_run_and_not_every_item(tmp_path: Path) -> None:
    async with serving(ask=[(401, {}, "who?")]) as server:
        lines = await run_here(config(tmp_path, server, max_concurrency=2), *({"q": n} for n in range(200)))
    assert len(server.asked) < 12
    assert len(lines) < 12


JOB = {"location": "/jobs/7"}


async def test_a_job_is_followed_to_its_end(tmp_path: Path) -> None:
    looks = [(202, {"retry-after": "0.05"}, ""), (202, {"retry-after": "0.05"}, ""), OK]
    async with serving(ask=[(202, JOB, "")], jobs_7=looks) as server:
        line = await one(tmp_path, server, output="data.answer", headers={"X-Api-Key": "${AGENT_KEY}"})
    assert line["output"] == 42
    assert [asked.path for asked in server.asked] == ["/ask", "/jobs/7", "/jobs/7", "/jobs/7"]
    assert {asked.headers["x-api-key"] for asked in server.asked} == {KEY}
    assert {(asked.method, asked.body) for asked in server.asked[1:]} == {("GET", "")}


async def test_where_to_look_and_what_is_the_end_can_be_said(tmp_path: Path) -> None:
    poll = {
        "url": "/jobs/{{ output.id }}",
        "every": "20ms",
        "until": "output.status == 'done'",
        "failed": "output.status == 'failed'",
    }
    begun, running = (200, {}, {"id": 7, "status": "queued"}), (200, {}, {"status": "running"})
    done, failed = (200, {}, {"status": "done", "text": "hi"}), (200, {}, {"status": "failed", "why": "tired"})
    async with serving(ask=[begun], jobs_7=[running, (500, {}, ""), running, done]) as server:
        assert (await one(tmp_path, server, output="text", poll=poll))["output"].startswith("{")
        assert server.count("/ask") == 1
    async with serving(ask=[begun], jobs_7=[running, failed]) as server:
        line = await one(tmp_path, server, poll=poll)
    assert (line["error"]["type"], server.count("/ask")) == ("server", 1)
    assert "the job failed" in line["error"]["message"]
    assert "tired" in line["error"]["message"]


async def test_a_status_that_leads_to_the_result(tmp_path: Path) -> None:
    async with serving(ask=[(202, {"operation-location": "/s"}, "")], s=[(303, {"location": "/r"}, "")], r=[OK]) as it:
        assert (await one(tmp_path, it, output="data.answer"))["output"] == 42
    async with serving(ask=[(202, {"location": "/s"}, "")], s=[(303, {"location": "/s"}, "")]) as server:
        assert "in circles" in (await one(tmp_path, server))["error"]["message"]


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/x", "//127.0.0.1:9/x", "https://127.0.0.1/x", "file:///etc/x"])
async def test_a_job_on_another_server_is_not_looked_at(tmp_path: Path, where: str) -> None:
    async with serving(ask=[(202, {"location": where}, "")]) as server:
        line = await one(tmp_path, server)
    assert (line["error"]["type"], len(server.asked)) == ("bad_response", 1)
    assert "on another server" in line["error"]["message"]
    async with serving(ask=[(202, JOB, "")], jobs_7=[(302, {"location": where}, "")]) as server:
        assert "on another server" in (await one(tmp_path, server))["error"]["message"]


async def test_a_job_without_a_place_to_look_says_what_to_write(tmp_path: Path) -> None:
    async with serving(ask=[(202, {}, "")]) as server:
        assert "`poll.url`" in (await one(tmp_path, server))["error"]["message"]
        assert len(server.asked) == 1


async def test_looks_that_fail_for_good_do_not_begin_the_job_anew(tmp_path: Path) -> None:
    async with serving(ask=[(202, JOB, "")], jobs_7=[(500, {}, "")]) as server:
        line = await one(tmp_path, server, retries=1)
    assert (line["error"]["type"], server.count("/ask"), server.count("/jobs/7")) == ("server", 1, 2)


async def test_a_long_job_ends_at_the_agents_timeout(tmp_path: Path) -> None:
    async with serving(ask=[(202, JOB, "")], jobs_7=[(202, {"retry-after": "0.05"}, "")]) as server:
        line = await one(tmp_path, server, timeout="300ms")
    assert line["status"] == "timeout"
    assert server.count("/jobs/7") >= 2


def test_templates_of_poll_know_the_answer_and_others_do_not(tmp_path: Path) -> None:
    server = JobServer({}, port=1)
    config(tmp_path, server, poll={"url": "{{ output.x }}", "until": "output.y"})
    for wrong in ({"body": "{{ output.x }}"}, {"poll": {"until": "loop.index"}}):
        with pytest.raises(ConfigError, match="not known here"):
            config(tmp_path, server, **wrong)


def test_keys_are_kept_from_sight_and_do_not_belong_in_the_file(tmp_path: Path) -> None:
    server = JobServer({}, port=1)
    made = config(tmp_path, server, headers={"X-Route": "${AGENT_KEY}", "x-user": "{{ input.q }}"})
    assert KEY in made.secrets
    with pytest.raises(ConfigError, match="a key does not belong in the config"):
        config(tmp_path, server, headers={"Authorization": "Bearer sk-0123456789abcdef"})


async def test_the_request_of_an_item_is_its_own(tmp_path: Path) -> None:
    def echo(asked: Asked) -> Any:
        return 200, {}, {"said": asked.json["q"]}

    async with serving(ask=[echo]) as server:
        lines = await run_here(config(tmp_path, server, output="said"), *({"q": f"n{n}"} for n in range(40)))
    assert [line["output"] for line in lines] == [f"n{n}" for n in range(40)]
    assert json.dumps(lines).count(KEY) == 0


async def killed(process: asyncio.subprocess.Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def test_a_job_that_a_killed_run_began_is_not_begun_again(tmp_path: Path) -> None:
    running = (202, {"retry-after": "0.05"}, "")
    async with serving(ask=[(202, JOB, "")], jobs_7=[running]) as server:
        config(tmp_path, server, output="data.answer")
        (tmp_path / "in.jsonl").write_text('{"q": "why?"}\n')
        words = [sys.executable, "-m", "agentbatch", "run", "config.yaml", "in.jsonl", "-q"]
        first = await asyncio.create_subprocess_exec(*words, cwd=tmp_path, start_new_session=True)
        async with asyncio.timeout(60):
            while server.count("/jobs/7") < 3:
                await asyncio.sleep(0.02)
        await killed(first)
        server.answers["/jobs/7"] = [OK]
        again = await asyncio.create_subprocess_exec(*words, cwd=tmp_path)
        async with asyncio.timeout(60):
            assert await again.wait() == 0
    (line,) = map(json.loads, (tmp_path / "in.results.jsonl").read_text().splitlines())
    assert (line["output"], server.count("/ask")) == (42, 1)
