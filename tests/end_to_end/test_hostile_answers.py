"""Endpoints that answer with anything but an answer: each item gets its own status, and no other item notices."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass, replace
from typing import Any

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused, running, token

RETRIES = 1


@dataclass(frozen=True)
class Expected:
    """What the result line of an item must say. `attempts` are requests, 0 for any number up to the most."""

    type: str | None
    attempts: int = 1 + RETRIES
    status: str = "error"
    http_status: int | None = None


WHOLE = good("x")
BODY = WHOLE.bytes().partition(b"\r\n\r\n")[2]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def chunked(body: bytes, extension: bytes = b"") -> bytes:
    half = len(body) // 2
    pieces = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in (body[:half], body[half:]))
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"


def declared(body: bytes, **headers: str) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return HEAD + f"{fields}content-length: {len(body)}\r\n\r\n".encode() + body


def bomb() -> bytes:
    """256 MB in 256 KB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])


BAD = Expected("bad_response")
BROKEN = Expected("connection")

NO_ANSWERS: dict[str, tuple[Reply, Expected]] = {
    "an HTML page": (Reply("<html>All is well</html>", headers={"content-type": "text/html"}), BAD),
    "an empty body": (Reply(""), BAD),
    "null": (Reply("null"), BAD),
    "a list": (Reply("[]"), BAD),
    "an empty object": (Reply("{}"), BAD),
    "no choices": (Reply('{"choices": []}'), BAD),
    "an error in disguise": (Reply('{"error": {"message": "upstream", "type": "server_error"}}'), BAD),
    "NaN": (Reply('{"choices": NaN}'), BAD),
    "deep nesting": (Reply("[" * 50_000), BAD),
    "truncated JSON": (Reply(BODY[:-20]), BAD),
    "damaged gzip": (Reply(raw=declared(b"\x1f\x8b\x08garbage", content_encoding="gzip")), BAD),
    "no HTTP": (Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n", then="close"), BAD),
    "huge headers": (Reply(raw=HEAD + b"x-big: " + b"a" * 1_000_000 + b"\r\n\r\n", then="close"), BAD),
    "null content": (good("x", text=None, content=None), replace(BAD, attempts=1)),
    "empty content": (good("x", text=""), replace(BAD, attempts=1)),
    "a filtered answer": (good("x", finish="content_filter"), Expected("content_filter", 1)),
    "a refusal": (good("x", text="", refusal="I won't"), Expected("content_filter", 1)),
    "a reset before the answer": (Reply(raw=b"", then="reset"), BROKEN),
    "a goodbye before the answer": (Reply(raw=b"", then="close"), BROKEN),
    "a reset in the body": (Reply(raw=declared(BODY)[:-30], then="reset"), BROKEN),
    "a goodbye in the body": (Reply(raw=declared(BODY)[:-30], then="close"), BROKEN),
    "a cut chunk": (Reply(raw=chunked(BODY)[:-40], then="close"), BROKEN),
    "silence": (Reply(raw=b"", then="hang"), Expected("timeout", status="timeout")),
    "a body that stops": (Reply(raw=declared(BODY)[:-30], then="hang"), Expected("timeout", status="timeout")),
    "bad request": (refused("400 Bad Request", "invalid_request_error"), Expected("bad_request", 1, http_status=400)),
    "not found": (refused("404 Not Found"), Expected("bad_request", 1, http_status=404)),
    "unprocessable": (refused("422 Unprocessable"), Expected("bad_request", 1, http_status=422)),
    "too long": (refused("400 Bad Request", "context_length_exceeded"), Expected("context_length", 1)),
    "too large": (refused("413 Too Large"), Expected("context_length", 1, http_status=413)),
    "server error": (refused("500 Oops"), Expected("server", http_status=500)),
    "server error in HTML": (Reply("<html>", "502 Bad Gateway"), Expected("server", http_status=502)),
    "timed out upstream": (refused("504 Gateway Timeout"), Expected("server", http_status=504)),
    "request timeout": (refused("408 Request Timeout"), Expected("server", http_status=408)),
    "conflict": (refused("409 Conflict"), Expected("server", http_status=409)),
    "unavailable": (refused("503 Unavailable"), Expected("overloaded", http_status=503)),
    "overloaded": (refused("529 Overloaded"), Expected("overloaded", http_status=529)),
    "an error not to be retried": (refused("500 Oops", x_should_retry="false"), Expected("server", 1)),
    "a refusal to be retried": (refused("400 Odd", x_should_retry="true"), Expected("bad_request")),
}
SOUND: dict[str, Reply] = {
    "chunks": Reply(raw=chunked(BODY)),
    "chunk extensions": Reply(raw=chunked(BODY, b";x=y")),
    "gzip": Reply(raw=declared(gzip.compress(BODY), content_encoding="gzip")),
    "deflate": Reply(raw=declared(zlib.compress(BODY), content_encoding="deflate")),
    "a BOM": Reply(b"\xef\xbb\xbf" + BODY),
    "another content type": Reply(BODY, headers={"content-type": "text/plain"}),
    "an interim answer": Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" + declared(BODY)),
    "no length": Reply(raw=HEAD + b"connection: close\r\n\r\n" + BODY, then="close"),
}


def named(names: Any) -> list[dict[str, str]]:
    return [{"id": name, "text": "hello"} for name in names]


def test_every_kind_of_no_answer_has_its_type_and_its_attempts(project: Project, provider: Provider) -> None:
    names = [f"{word}{fault}" for fault in NO_ANSWERS for word in ("", "after ", "later than ", "long past ")]
    # so many in flight that the failures, a quarter of all, don't look like an outage
    project.configure(model={"retries": RETRIES, "timeout": "1s", "max_concurrency": 40})
    project.give(named(names))

    def script(asked: Asked) -> Reply:
        return NO_ANSWERS[asked.id][0] if asked.id in NO_ANSWERS else good(asked.id)

    provider.script = script
    ended = project.run()
    assert ended.code == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not faults_of(project.results, names)
    lines = project.by_id()
    found = {name: seen(lines[name], provider.counts[name], expected) for name, (_, expected) in NO_ANSWERS.items()}
    assert found == {name: expected for name, (_, expected) in NO_ANSWERS.items()}
    assert all(lines[name]["status"] == "ok" for name in names if name not in NO_ANSWERS)
    for name in NO_ANSWERS:
        assert lines[name]["output"] is None
        assert lines[name]["error"]["attempts"] == provider.counts[name]


def seen(line: dict[str, Any], requests: int, expected: Expected) -> Expected:
    error = line["error"] or {}
    status = error.get("http_status") if expected.http_status else None
    return Expected(error.get("type"), requests, line["status"], status)


def test_what_is_odd_but_valid_is_an_answer(project: Project, provider: Provider) -> None:
    project.give(named(SOUND))

    def script(asked: Asked) -> Reply:
        reply, own = SOUND[asked.id], token(asked.id).encode()
        raw, body = reply.raw, reply.body if isinstance(reply.body, bytes) else reply.body.encode()
        if asked.id == "gzip":
            raw = declared(gzip.compress(BODY.replace(token("x").encode(), own)), content_encoding="gzip")
        elif asked.id == "deflate":
            raw = declared(zlib.compress(BODY.replace(token("x").encode(), own)), content_encoding="deflate")
        elif raw is not None:  # tokens are of one length
            half = BODY[len(BODY) // 2 :]
            raw = chunked(BODY.replace(token("x").encode(), own), b";x=y") if half in raw and b"chunked" in raw else raw
            raw = raw.replace(token("x").encode(), own)
        return replace(reply, raw=raw, body=body.replace(token("x").encode(), own))

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, SOUND)
    assert len(provider.requests) == len(SOUND)


def test_an_answer_cut_by_max_tokens_is_told_apart(project: Project, provider: Provider) -> None:
    project.give(2)
    provider.script = lambda asked: good(asked.id, finish="length" if asked.id == "1" else "stop")
    ended = project.run()
    assert ended.code == 0
    assert "max_tokens cut answers of 1 item" in ended.stderr
    lines = project.by_id()
    assert lines["1"]["truncated"] is lines["1"]["agents"]["writer"]["truncated"] is True
    assert "truncated" not in lines["2"]
    assert "truncated" not in lines["2"]["agents"]["writer"]


HOSTILE_TEXTS = [
    "\x00\x01\x1b[31mred\x9b2J\u202egnp.exe",
    "\ud800 half a pair",
    "\u2028\u2029\x85 ends of lines",
    "{{ 7 * 7 }}{% for x in range(10) %}",
    '","status":"ok"}\n{"id":"9"',
    "é" * 10_000,
]


def test_hostile_texts_are_data_all_the_way(project: Project, provider: Provider) -> None:
    """In inputs and in answers, through two agents, to the results and the screen."""
    agents = {
        "writer": {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"},
        "reader": {"model": "m", "prompt": "item={{ item.id }};{{ writer.output }}"},
    }
    project.configure(agents=agents, workflow=["writer", "reader"])
    records = [{"id": str(number), "text": text} for number, text in enumerate(HOSTILE_TEXTS)]
    project.inputs.write_text("".join(json.dumps(record) + "\n" for record in records))
    provider.script = lambda asked: good(asked.id, text=asked.prompt.partition(";")[2] + token(asked.id))
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, [record["id"] for record in records])
    for number, text in enumerate(HOSTILE_TEXTS):
        clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        twice = project.by_id()[str(number)]["output"]
        assert twice == clean + 2 * token(str(number)), "the text changed on its way"
    assert "\x1b" not in ended.stderr


def test_hostile_error_messages_reach_no_terminal_unescaped(project: Project, provider: Provider) -> None:
    project.give(3)
    provider.script = lambda asked: refused("400 No", "bad", "\x1b]0;owned\x07 \x9b2J \u202e [red]x[/red]")
    ended = project.run()
    assert ended.code == 1
    assert not set("\x1b\x07\x9b\u202e") & set(ended.stderr)
    assert "[red]x[/red]" in ended.stderr


def peak_memory_mb(run_pid: int) -> float:
    with open(f"/proc/{run_pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


@pytest.mark.slow
def test_floods_are_cut_before_they_fill_the_memory(project: Project, provider: Provider) -> None:
    floods = {
        "an endless body": Reply(raw=HEAD + b"connection: close\r\n\r\n", then="repeat", more=b" " * 65536),
        "an endless chunked body": Reply(
            raw=HEAD + b"transfer-encoding: chunked\r\n\r\n", then="repeat", more=b"10000\r\n" + b" " * 65536 + b"\r\n"
        ),
        "endless headers": Reply(raw=HEAD, then="repeat", more=b"x-header: value\r\n" * 1000),
        "a gzip bomb": Reply(raw=declared(bomb(), content_encoding="gzip")),
    }
    # of 32 requests at once, four failures are no outage
    project.configure(model={"retries": 0, "timeout": "20s", "max_concurrency": 32})
    names = [*floods, "innocent"]
    project.give([*named(floods), {"id": "innocent", "text": ""}, {"id": "last", "text": ""}])
    provider.script = lambda asked: floods.get(asked.id) or good(asked.id, delay=20 if asked.id == "last" else 0)
    with project.start() as run:
        provider.wait_for(len(names) + 1)
        while sum(asked.ended_at is not None for asked in provider.requests) < len(names):
            provider.wait_for_change()
        memory = peak_memory_mb(run.pid)
        run.process.terminate()
        assert run.end().code == 143
    lines = project.by_id()
    assert {name: lines[name]["error"]["type"] for name in floods} == dict.fromkeys(floods, "bad_response")
    assert lines["innocent"]["status"] == "ok"
    assert memory < 400


def test_a_redirect_takes_neither_key_nor_prompt_elsewhere(project: Project, provider: Provider) -> None:
    project.give(2)
    with running(Provider()) as elsewhere:
        location = f"{elsewhere.url}/chat/completions"
        provider.script = lambda asked: Reply("", "307 Temporary Redirect", {"location": location})
        ended = project.run()
        assert not elsewhere.requests
    assert ended.code == 1
    assert {line["error"]["type"] for line in project.lines()} == {"bad_request"}
    assert len(provider.requests) == 2


@pytest.mark.slow
def test_an_answer_of_20_mb_is_kept_whole(project: Project, provider: Provider) -> None:
    project.give(1)
    provider.script = lambda asked: good(asked.id, text=token(asked.id) + "x" * 20_000_000)
    assert project.run("--no-traces").code == 0
    assert len(project.lines()[0]["output"]) == 40 + 20_000_000


@pytest.mark.slow
def test_weather(project: Project, provider: Provider) -> None:
    """Faults of all kinds by chance on every attempt: with enough patience every item gets its own answer."""
    ids = project.give(150)
    project.configure(model={"retries": 8, "timeout": "2s", "max_concurrency": 32})
    kinds = [reply for reply, expected in NO_ANSWERS.values() if expected.attempts > 1 and expected.type != "timeout"]
    kinds.append(refused("429 Slow down", "rate_limit_exceeded", retry_after_ms="100"))

    def script(asked: Asked) -> Reply:
        draw = random.Random(f"{asked.id}/{asked.attempt}")
        return draw.choice(kinds) if draw.random() < 0.3 else good(asked.id, delay=0.02 * draw.random())

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert provider.peak <= 32
