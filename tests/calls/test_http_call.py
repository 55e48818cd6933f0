"""Requests to a server that no template can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agentbatch.calls.http_call import HttpCall, HttpCallFields
from agentbatch.errors import AuthFault, BadRequest, BadResponse, Overloaded, RateLimited, TemplateFault
from agentbatch.transports.base import HttpResponse


class Recorder:
    """A transport that answers what it is told, and keeps what it was asked."""

    def __init__(self, status: int = 200, body: bytes = b'{"data": {"answer": 42}}', **headers: str) -> None:
        self.answer = HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        self.asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = []

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        self.asked.append((method, url, headers, body))
        return self.answer

    def stream(self, *_: object) -> Any:
        raise NotImplementedError

    async def close(self) -> None: ...


async def send(transport: Recorder, names: dict[str, Any] | None = None, **fields: Any) -> Any:
    config = HttpCallFields.model_validate({"url": "https://api.example.com/q", **fields})
    return await HttpCall.of(config, "tools.t.http", transport).send(names or {}, "00-trace")


async def test_templates_fill_in_url_headers_and_body() -> None:
    transport = Recorder()
    names = {"args": {"city": "a b&c=d/../ä", "n": 3}}
    value = await send(
        transport,
        names,
        method="POST",
        url="https://api.example.com/w/{{ args.city | urlencode }}?n={{ args.n }}",
        headers={"X-City": "{{ args.n }}"},
        body={"n": "{{ args.n }}", "list": ["{{ args.city }}", 1, None], "text": "n is {{ args.n }}"},
        output="data.answer",
    )
    assert value == 42
    method, url, headers, body = transport.asked[0]
    assert (method, url) == ("POST", "https://api.example.com/w/a%20b%26c%3Dd/../%C3%A4?n=3")
    assert headers == {"x-city": "3", "content-type": "application/json", "traceparent": "00-trace"}
    assert body == '{"n":3,"list":["a b&c=d/../ä",1,null],"text":"n is 3"}'.encode()


async def test_a_text_is_a_body_as_it_is() -> None:
    transport = Recorder()
    await send(transport, {"args": {"x": "1"}}, method="PUT", body="x={{ args.x }}", headers={"Content-Type": "a/b"})
    assert transport.asked[0][2:] == ({"content-type": "a/b", "traceparent": "00-trace"}, b"x=1")


@pytest.mark.parametrize(
    "url",
    [
        "{{ args.url }}",
        "https://{{ args.host }}/x",
        "https://api.example.com{{ args.path }}",
        "https://api.example.com:{{ args.port }}/",
        "https://user:pw@example.com/",
        "https://api.example.com\\@evil.example/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "//example.com/",
        "/relative",
        "",
    ],
)
def test_a_server_is_written_out_in_the_config(url: str) -> None:
    with pytest.raises(ValueError, match="templates may only stand behind the server"):
        HttpCallFields.model_validate({"url": url})


@pytest.mark.parametrize(
    "text", ["@evil.example/", "\\@evil.example", "//evil.example/", "../../", "?#", "\r\nHost: evil", "\t\0"]
)
async def test_no_argument_leads_to_another_server(text: str) -> None:
    transport = Recorder()
    await send(transport, {"args": {"x": text}}, url="https://api.example.com/{{ args.x }}")
    (_, url, _, _) = transport.asked[0]
    assert url.startswith("https://api.example.com/")
    assert not set(url) & set("\r\n\t\0 ")


async def test_a_header_holds_no_line_break() -> None:
    transport = Recorder()
    with pytest.raises(BadRequest, match="holds a line break"):
        await send(transport, {"args": {"x": "a\r\nHost: evil"}}, headers={"x": "{{ args.x }}"})
    with pytest.raises(TemplateFault):
        await send(transport, {}, headers={"x": "{{ args.x }}"})
    assert transport.asked == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, BadRequest, "HTTP 404: gone"),
        (401, AuthFault, "HTTP 401"),
        (302, BadRequest, "redirects to 'https://evil.example/', and redirects are not followed"),
        (429, RateLimited, "HTTP 429"),
        (503, Overloaded, "HTTP 503"),
    ],
)
async def test_what_is_no_success_is_an_error(status: int, error: type[Exception], words: str) -> None:
    transport = Recorder(status, b"gone\x1b[2J", location="https://evil.example/", retry_after="7")
    with pytest.raises(error, match=words) as fault:
        await send(transport)
    assert "\x1b" not in str(fault.value)
    assert getattr(fault.value, "retry_after", None) == (7.0 if status in (429, 503) else None)


async def test_an_answer_without_what_is_wanted_is_bad() -> None:
    with pytest.raises(BadResponse, match="there is no 'answers'"):
        await send(Recorder(), output="data.answers")
