"""Requests as tools, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from running import LineOf
from workflow import config_of

from agentbatch.errors import ConfigError


class Site:
    """A server that answers each path with what it is told; keeps the requests' heads."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                self.asked.append(head)
                writer.write(self._answer(head.split()[1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, target: str) -> bytes:
        path = target.partition("?")[0]
        body, status, extra = b'{"data": {"answer": 42}}', "200 OK", ""
        if path == "/moved":
            status, extra = "302 Found", "Location: http://169.254.169.254/latest/meta-data\r\n"
        elif path == "/missing":
            status, body = "404 Not Found", b"no such page"
        elif path == "/binary":
            body = b"\x89PNG\0\0"
        elif path == "/hang":
            return b""
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site._serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


def one_call(folder: Path, tool: dict[str, Any], **arguments: Any) -> Any:
    model = {
        "provider": "mock",
        "tool_calls": [{"name": "t", "arguments": arguments}],
        "reply": "{{ messages[-1].content }}",
    }
    return config_of(
        folder, {"a": {"model": "m", "prompt": "go", "tools": ["t"]}}, models={"m": model}, tools={"t": tool}
    )


async def test_a_request_is_made_of_the_models_arguments(tmp_path: Path, line_of: LineOf) -> None:
    async with serving() as site:
        url = f"http://127.0.0.1:{site.port}/w?q={{{{ args.city | urlencode }}}}"
        tool = {"http": {"url": url, "output": "data.answer"}, "parameters": {"city": "string"}}
        line = await line_of(one_call(tmp_path, tool, city="a b&c"))
    assert line["output"] == "42"
    assert site.asked[0].startswith("GET /w?q=a%20b%26c HTTP/1.1\r\n")
    assert f"-{line['trace_id']}-" in site.asked[0].replace("traceparent: 00-", "-")


async def test_redirects_are_told_and_not_followed(tmp_path: Path, line_of: LineOf) -> None:
    async with serving() as site:
        line = await line_of(one_call(tmp_path, {"http": {"url": f"http://127.0.0.1:{site.port}/moved"}}))
        assert line["output"].startswith("Error: HTTP 302: redirects to 'http://169.254.169.254/latest/meta-data'")
        line = await line_of(one_call(tmp_path, {"http": {"url": f"http://127.0.0.1:{site.port}/missing"}}))
        assert line["output"] == "Error: HTTP 404: no such page"
        hanging = {"http": {"url": f"http://127.0.0.1:{site.port}/hang"}, "timeout": "200ms"}
        assert (await line_of(one_call(tmp_path, hanging)))["output"] == (
            "Error: t worked for longer than its timeout of 0.2 s"
        )


def test_a_server_that_a_template_could_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="templates may only stand behind the server"):
        one_call(tmp_path, {"http": {"url": "https://{{ args.host }}/"}, "parameters": {"host": "string"}})


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:{other}/",
    "http://127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://evil.example:{port}@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@evil.example/",
    "http://127.0.0.1:{port}.evil.example/",
    "http://0x7f000001:{port}/",
    "http://2130706433:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://localhost:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: evil",
    "http://127.0.0.1:99999/",
    "",
]


@pytest.mark.parametrize("url", ELSEWHERE)
async def test_a_page_of_a_server_that_is_not_listed_is_not_asked_for(
    tmp_path: Path, line_of: LineOf, url: str
) -> None:
    async with serving() as site:
        tool = {"http_get": {"hosts": [f"127.0.0.1:{site.port}"]}}
        asked = url.format(port=site.port, other=site.port - 1)
        line = await line_of(one_call(tmp_path, tool, url=asked.replace("{", "")))
    assert line["output"].startswith("Error: ")
    assert site.asked == []


async def test_pages_of_listed_servers_are_read(tmp_path: Path, line_of: LineOf) -> None:
    async with serving() as site:
        tool = {"http_get": {"hosts": [f"127.0.0.1:{site.port}"]}}
        base = f"http://127.0.0.1:{site.port}"
        assert (await line_of(one_call(tmp_path, tool, url=f"{base}/a?b=c#d")))["output"] == '{"data": {"answer": 42}}'
        assert site.asked[0].startswith("GET /a?b=c HTTP/1.1")
        assert "redirects are not followed" in (await line_of(one_call(tmp_path, tool, url=f"{base}/moved")))["output"]
        assert "is no text" in (await line_of(one_call(tmp_path, tool, url=f"{base}/binary")))["output"]
        assert len(site.asked) == 3
