"""One answer received piece by piece. What breaks off is a failed attempt, never half an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from time import perf_counter
from typing import Any, Protocol

from agentbatch.errors import BadResponse, ConnectionFault, StepError, StepTimeout
from agentbatch.models.json_answer import parse_answer
from agentbatch.models.refusals import refusal, refusal_amid, request_id_of
from agentbatch.models.sse import SseEvent, SseParser
from agentbatch.record import record
from agentbatch.transports.base import HttpResponse, HttpStream, HttpTransport

_FAREWELL_S = 1.0
"""How long to wait for the end of a body whose answer is complete, so that its connection can be used again."""


class Assembly(Protocol):
    """Puts the events of a provider's dialect together to the JSON object that a request without `stream` gets."""

    begun: bool
    """Something the model wrote has come: text, reasoning, or a tool call."""
    whole: bool
    """Enough has come for an answer; more may follow, such as its usage."""
    over: bool
    """The provider has said that nothing follows."""

    def take(self, frame: Mapping[str, Any], name: str) -> None:
        """Add one event that is no error. `name`: the event's own."""
        ...

    def done(self) -> None:
        """`[DONE]` has come."""
        ...

    def answer(self) -> dict[str, Any]:
        """The whole."""
        ...


@record
class StreamedAnswer:
    """An answer's JSON, the HTTP answer it came in (without its body), and seconds to its first token."""

    answer: dict[str, Any]
    response: HttpResponse
    first_token_s: float | None = None


async def stream_answer(
    transport: HttpTransport, url: str, headers: Mapping[str, str], body: bytes, assembly: Assembly, silence_s: float
) -> StreamedAnswer:
    """Send one request and receive its answer as a stream.

    Args:
        transport: how it is sent.
        url: where to.
        headers: the request's.
        body: the request's; it asks for a stream.
        assembly: new, of the provider's dialect.
        silence_s: the longest time between two pieces.

    Raises:
        BadResponse: the stream ended too early, or has what can't be read in it.
        ConnectionFault: the connection was cut.
        StepTimeout: it fell silent.
        StepError: the server declined, at once or in the midst of its answer.
    """
    sent_at = perf_counter()
    async with transport.stream("POST", url, headers, body) as stream:
        if not 200 <= stream.status < 300:
            raise refusal(stream.status, stream.headers, await _read(stream), time.time())
        if "json" in stream.headers.get("content-type", ""):  # a server that does not stream
            whole = HttpResponse(stream.status, stream.headers, await _read(stream))
            return StreamedAnswer(parse_answer(whole.body), whole)
        first_token_s = await _assemble(stream, assembly, silence_s, sent_at)
        return StreamedAnswer(assembly.answer(), HttpResponse(stream.status, stream.headers, b""), first_token_s)


async def _assemble(stream: HttpStream, assembly: Assembly, silence_s: float, sent_at: float) -> float | None:
    """Take events until the answer is over; seconds to the first that the model wrote."""
    parser = SseParser()
    first_token_s = None
    begun = False
    while not assembly.over:
        try:
            chunk = await _next_chunk(stream.chunks, silence_s if begun else None)
        except (ConnectionFault, StepTimeout):
            if assembly.whole:
                break
            raise
        if chunk is None:
            break
        begun = True
        for event in parser.feed(chunk):
            _take(event, assembly, stream.headers)
            if assembly.over:
                break
        if assembly.begun and first_token_s is None:
            first_token_s = perf_counter() - sent_at
    if not assembly.whole:
        raise BadResponse("the stream ended before the answer did", request_id=request_id_of(stream.headers))
    if assembly.over:
        await _read_to_end(stream.chunks)
    return first_token_s


def _take(event: SseEvent, assembly: Assembly, headers: Mapping[str, str]) -> None:
    if event.data.strip() == b"[DONE]":
        assembly.done()
        return
    frame = parse_answer(event.data)
    if event.name == "error" or frame.get("error") or frame.get("type") == "error":
        raise refusal_amid(frame, event.data, headers)
    assembly.take(frame, event.name)


async def _next_chunk(chunks: AsyncIterator[bytes], silence_s: float | None) -> bytes | None:
    """The next piece; None at the end."""
    try:
        async with asyncio.timeout(silence_s):
            return await anext(chunks, None)
    except TimeoutError:
        raise StepTimeout(f"the stream fell silent for {silence_s:g} s (chunk_timeout)") from None


async def _read(stream: HttpStream) -> bytes:
    return b"".join([chunk async for chunk in stream.chunks])


async def _read_to_end(chunks: AsyncIterator[bytes]) -> None:
    """Nothing that happens from here on changes the answer."""
    try:
        async with asyncio.timeout(_FAREWELL_S):
            async for _ in chunks:
                pass
    except (TimeoutError, StepError):
        pass
