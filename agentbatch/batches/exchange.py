"""Requests to a provider's batch API over HTTP: JSON, uploads, and results that are read line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from agentbatch.errors import BadContent, BadResponse, StepTimeout
from agentbatch.models.http_api import HttpApi
from agentbatch.models.json_answer import parse_answer
from agentbatch.models.refusals import refusal
from agentbatch.transports.base import HttpTransport

_PATIENCE_S = 60.0
_TRANSFER_S = 600.0
"""An upload may take so long, and so may one piece of a download."""


class Exchange:
    """One model's endpoint, as far as its batches go.

    Args:
        api: whose server and key are used.
        transport: of its own, for results are larger than answers.
    """

    def __init__(self, api: HttpApi, transport: HttpTransport) -> None:
        self.api = api
        self._transport = transport

    async def json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send JSON, or nothing, and get JSON."""
        data = None if body is None else orjson.dumps(body)
        return await self.upload(method, path, data, "application/json", _PATIENCE_S)

    async def upload(
        self, method: str, path: str, data: bytes | None, content_type: str, patience_s: float = _TRANSFER_S
    ) -> dict[str, Any]:
        """Send bytes and get JSON.

        Raises:
            StepError: the server declined, or no whole answer came.
        """
        headers = {**self.api.headers, "content-type": content_type}
        try:
            async with asyncio.timeout(patience_s):
                response = await self._transport.request(method, self.api.url(path), headers, data)
        except TimeoutError:
            raise StepTimeout(f"no whole answer within {patience_s:g} s") from None
        if not 200 <= response.status < 300:
            raise refusal(response.status, response.headers, response.body, time.time())
        return parse_answer(response.body)

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of a file.

        Raises:
            StepError: it can't be had, or breaks off.
        """
        async with self._transport.stream("GET", self.api.url(path), self.api.headers, None) as stream:
            if not 200 <= stream.status < 300:
                body = b"".join([chunk async for chunk in stream.chunks])
                raise refusal(stream.status, stream.headers, body, time.time())
            rest = b""
            while (chunk := await _next(stream.chunks)) is not None:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line
            if rest.strip():
                yield rest

    async def results(self, path: str) -> AsyncIterator[tuple[str, bytes]]:
        """The lines of a file of results, each with its custom id.

        Raises:
            BadContent: at the end, where a line could not be read.
            StepError: it can't be had, or breaks off.
        """
        unreadable: BadResponse | None = None
        async for line in self.lines(path):
            try:
                key, _ = result_line(line)
            except BadResponse as error:
                unreadable = unreadable or error
            else:
                yield key, line
        if unreadable is not None:
            raise BadContent(f"a line of the batch's results can't be read: {unreadable.message}")


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_TRANSFER_S):
            return await anext(chunks, None)
    except TimeoutError:
        raise StepTimeout("the results fell silent") from None


def result_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """The custom id and the fields of a line of results.

    Raises:
        BadResponse: it is none.
    """
    fields = parse_answer(line)
    key = fields.get("custom_id")
    if not isinstance(key, str):
        raise BadResponse("a line of the batch's results has no custom_id")
    return key, fields


def seconds_of(value: Any) -> float:
    """A Unix time that the provider gives as a number; 0 where it gives none."""
    return float(value) if isinstance(value, int | float) else 0.0


def text_headers(request_id: Any) -> Mapping[str, str]:
    """The header that an answer's request id would have come in."""
    return {"x-request-id": request_id} if isinstance(request_id, str) else {}
