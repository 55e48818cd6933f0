"""How an answer leaves: whole, as a stream, or broken in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>The mock sent this on purpose.</body></html>"

Headers = Mapping[str, str]


def json_response(status: int, value: Mapping[str, Any], headers: Headers | None = None) -> web.Response:
    """A whole JSON answer."""
    return web.Response(status=status, body=orjson.dumps(value), headers=headers, content_type="application/json")


def html_response(headers: Headers) -> web.Response:
    """A page where JSON was expected, as a bad proxy sends it."""
    return web.Response(body=_HTML, headers=headers, content_type="text/html")


def cut_json_response(value: Mapping[str, Any], headers: Headers) -> web.Response:
    """Half of the JSON, declared as the whole."""
    body = orjson.dumps(value)
    return web.Response(body=body[: len(body) // 2], headers=headers, content_type="application/json")


async def send_half(request: web.BaseRequest, value: Mapping[str, Any], headers: Headers) -> web.StreamResponse:
    """Half of the JSON, then a closed connection."""
    body = orjson.dumps(value)
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    close(request)
    return response


async def send_events(
    request: web.BaseRequest, events: Sequence[bytes], headers: Headers, *, delay: float, then_close: bool
) -> web.StreamResponse:
    """A stream of events with `delay` seconds between two, ended properly or by a closed connection."""
    response = web.StreamResponse(headers={**headers, "Cache-Control": "no-cache"})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    for place, event in enumerate(events):
        if place and delay:
            await asyncio.sleep(delay)
        await response.write(event)
    if then_close:
        close(request)
    else:
        await response.write_eof()
    return response


def close(request: web.BaseRequest) -> None:
    """Close the connection after what was written so far."""
    if request.transport is not None:
        request.transport.close()
