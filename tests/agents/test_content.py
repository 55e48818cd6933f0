"""`content:` of an agent, from the config to what each provider is sent."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import run_here
from scripted import visit_of

from agentbatch import run_batch
from agentbatch.agents.content import Content, PartConfig, content_bounds
from agentbatch.config import Config, load
from agentbatch.errors import ConfigError
from agentbatch.messages import Attachment, ChatRequest, Message
from agentbatch.models.content_parts import content_of, read_files
from agentbatch.transports.threads import Threads

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
PDF = b"%PDF-1.7 " + bytes(100)
B64 = b64encode(PNG).decode()
PDF64 = b64encode(PDF).decode()
REPLY = "{{ prompt }}|{% for f in files %}{{ f.kind }} {{ f.name }} {{ f.type }} {{ f.size }};{% endfor %}"
PARTS = [{"image": "{{ input.image }}"}, {"text": "Now this:"}, {"file": "{{ input.file | default('') }}"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(PNG)
    (tmp_path / "pics" / "b.pdf").write_bytes(PDF)
    (tmp_path / ".env").write_text("KEY=sk-secret\n")
    return tmp_path


def config_of(folder: Path, model: dict[str, Any] | None = None, **agent: Any) -> Config:
    document: dict[str, Any] = {
        "version": 1,
        "models": {"m": model or {"provider": "mock", "reply": REPLY}},
        "agents": {"reader": {"model": "m", "prompt": "Look:", "content": PARTS, "content_root": "pics", **agent}},
        "trace": {"content": True},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load(folder / "config.yaml", environ={})


async def test_parts_come_in_their_order_behind_the_prompt(folder: Path):
    (line,) = await run_here(config_of(folder), {"image": "a.png", "file": "b.pdf"})
    assert (
        line["output"] == f"Look:\n\nNow this:|image a.png image/png {len(PNG)};file b.pdf application/pdf {len(PDF)};"
    )


async def test_lists_and_nothing(folder: Path):
    (line,) = await run_here(config_of(folder), {"image": ["a.png", "https://example.com/b.jpg"]})
    assert line["output"].endswith(f"|image a.png image/png {len(PNG)};image b.jpg image/jpeg 0;")
    (line,) = await run_here(config_of(folder), {"image": []})
    assert line["output"].endswith("|")


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("none.png", "there is no 'none.png'"),
        ("../.env", "stay inside the folder"),
        ("/etc/passwd", "is not in"),
        ("b.pdf", "is no image"),
        ([1], "expected a path or a URL"),
    ],
)
async def test_what_can_t_be_sent_fails_its_item(folder: Path, image: Any, says: str):
    bad, good = await run_here(config_of(folder), {"image": image}, {"image": "a.png"})
    assert (bad["status"], bad["error"]["type"]) == ("error", "input")
    assert says in bad["error"]["message"]
    assert bad["usage"]["requests"] == 0
    assert good["status"] == "ok"


async def test_files_are_capped(folder: Path):
    (line,) = await run_here(config_of(folder, max_file_mb=0.005), {"image": "a.png"})
    assert "more than max_file_mb allows (0.005)" in line["error"]["message"]


def test_a_part_is_one_thing_and_an_agent_asks_something(folder: Path):
    with pytest.raises(ConfigError, match="a part is one of"):
        config_of(folder, content=[{"image": "a", "text": "b"}])
    with pytest.raises(ConfigError, match="missing key 'prompt'"):
        config_of(folder, prompt=None, content=[])
    assert config_of(folder, prompt=None).agents


async def test_traces_and_kept_calls_know_a_file_by_its_digest(folder: Path):
    cache = {"path": str(folder / "cache.sqlite")}
    config = config_of(folder).model_copy(update={"cache": type(config_of(folder).cache)(**cache)})
    for name in ("first", "again"):
        run = run_batch(config, [{"image": "a.png"}], traces=folder / f"{name}.jsonl")
        results = [result async for result in run]
        assert results[0].ok
    assert results[0].usage.requests == 0, "the cache knows it by its content"
    (folder / "pics" / "a.png").write_bytes(PNG + b"!")
    results = [result async for result in run_batch(config, [{"image": "a.png"}])]
    assert results[0].usage.requests == 1
    trace = (folder / "first.jsonl").read_text()
    assert "a.png" in trace and "digest" in trace and B64[:60] not in trace
    assert (folder / "cache.sqlite").stat().st_size < 20_000


async def test_what_a_hook_takes_out_of_the_text_is_not_sent_in_the_parts():
    picture = Attachment("image", "image/png", "d", 3, "a.png", "https://example.com/a.png")
    whole = Message("user", "secret\n\nmore", parts=("secret", picture, "more"))
    assert content_of(whole, str) == ["secret", str(picture), "more"]
    masked = Message("user", "[gone]\n\nmore", parts=whole.parts)
    assert content_of(masked, str) == ["[gone]\n\nmore", str(picture)]
    assert await read_files(ChatRequest((whole,))) == {}


@asynccontextmanager
async def server(answer: dict[str, Any]) -> AsyncGenerator[tuple[str, list[dict[str, Any]]]]:
    """Gives every request the same answer; keeps the bodies."""
    bodies: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        bodies.append(json.loads(await reader.readexactly(length)))
        body = json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}", bodies


PROVIDERS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "openai": (
        {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]},
        [
            {"type": "text", "text": "Look:"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/b.jpg"}},
            {"type": "text", "text": "Now this:"},
            {"type": "file", "file": {"filename": "b.pdf", "file_data": f"data:application/pdf;base64,{PDF64}"}},
        ],
    ),
    "openai-responses": (
        {"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "ok"}]}]},
        [
            {"type": "input_text", "text": "Look:"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{B64}"},
            {"type": "input_image", "image_url": "https://example.com/b.jpg"},
            {"type": "input_text", "text": "Now this:"},
            {"type": "input_file", "filename": "b.pdf", "file_data": f"data:application/pdf;base64,{PDF64}"},
        ],
    ),
    "anthropic": (
        {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"},
        [
            {"type": "text", "text": "Look:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/b.jpg"}},
            {"type": "text", "text": "Now this:"},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF64}},
        ],
    ),
    "gemini": (
        {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
        [
            {"text": "Look:"},
            {"inlineData": {"mimeType": "image/png", "data": B64}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/b.jpg"}},
            {"text": "Now this:"},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF64}},
        ],
    ),
}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_provider_is_sent_its_own_form(folder: Path, provider: str):
    answer, wanted = PROVIDERS[provider]
    async with server(answer) as (url, bodies):
        config = config_of(folder, {"provider": provider, "model": "x", "base_url": url})
        fields = {"image": ["a.png", "https://example.com/b.jpg"], "file": "b.pdf"}
        (line,) = await run_here(config, fields)
    assert (line["status"], line["output"]) == ("ok", "ok")
    body = bodies[0]
    turns = body.get("messages") or body.get("input") or body["contents"]
    assert turns[-1].get("content", turns[-1].get("parts")) == wanted


async def test_a_provider_that_takes_no_urls_of_files_says_so(folder: Path):
    config = config_of(folder, {"provider": "openai", "model": "x", "base_url": "http://127.0.0.1:1"})
    (line,) = await run_here(config, {"image": [], "file": "https://example.com/b.pdf"})
    assert line["error"]["type"] == "bad_request"
    assert "take no URLs of files" in line["error"]["message"]


async def test_the_pictures_of_an_earlier_agent_stay_in_its_conversation(folder: Path):
    document = {
        "version": 1,
        "models": {"m": {"provider": "mock", "reply": REPLY}},
        "agents": {
            "reader": {"model": "m", "content": [{"image": "a.png"}], "content_root": "pics"},
            "asker": {"model": "m", "prompt": "And?", "history": ["reader"]},
        },
        "workflow": ["reader", "asker"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    (line,) = await run_here(load(folder / "config.yaml", environ={}), {})
    assert line["output"] == f"And?|image a.png image/png {len(PNG)};"


class CountedThreads(Threads):
    """Counts the calls that are under way."""

    under_way = peak = 0

    async def run(self, call: Callable[[], Any]) -> Any:
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return call()


async def test_however_many_items_there_are_few_files_are_read_at_once(folder: Path):
    threads, bounds = CountedThreads(), content_bounds(folder, "pics", 1)
    content = Content(None, [PartConfig(image="a.png")], "agents.reader", bounds, threads)
    messages = await asyncio.gather(*(content.message({}, visit_of()) for _ in range(300)))
    assert len({message.parts for message in messages}) == 1
    assert threads.peak == 16
