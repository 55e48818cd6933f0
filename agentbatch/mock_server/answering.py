"""What becomes of one request: refused, answered, or spoilt on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp import web

from agentbatch.errors import StepError
from agentbatch.messages import ChatResponse
from agentbatch.mock_server.asked import Asked, MalformedBody, json_object
from agentbatch.mock_server.exchange import Exchange
from agentbatch.mock_server.gate import Gate, Refusal, retry_after_headers
from agentbatch.mock_server.sabotage import Sabotage, never, sabotage_of
from agentbatch.mock_server.sending import (
    close,
    cut_json_response,
    html_response,
    json_response,
    send_events,
    send_half,
)
from agentbatch.mock_server.settings import MockServerSettings
from agentbatch.models.mock_answer import Answers
from agentbatch.models.mock_faults import FaultKind
from agentbatch.models.mock_pace import Pace, Turn


class Answering:
    """Takes requests through the gate to their answers. It remembers: limits, failures, what was asked how often."""

    def __init__(self, settings: MockServerSettings) -> None:
        self._settings = settings
        self._answers = Answers(settings)
        self._gate = Gate(settings)
        self._sabotages = not never(settings)
        self._pace = Pace(settings, counting=self._sabotages or settings.fail_each > 0)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Let the requests that hang go."""
        self._stopped.set()

    async def reply(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """One request from its body to its answer."""
        refusal = self._gate.refuse_key(request.headers)
        if refusal is not None:
            return self._refuse(exchange, refusal)
        try:
            asked = exchange.dialect.read(json_object(await request.read()))
            question = self._answers.read(asked.request, asked.model)
            answer = self._answers.answer(question)
        except (MalformedBody, StepError, web.RequestPayloadError) as error:
            return self._refuse(exchange, Refusal("bad_request", "malformed", str(error)))
        exchange.understood(question.key, asked.model)
        turn = self._pace.next(question.key)
        refusal = self._let_in(exchange, turn, answer)
        if refusal is not None:
            return self._refuse(exchange, refusal)
        if turn.seconds > 0:
            await asyncio.sleep(turn.seconds)
        return await self._answer(request, exchange, asked, answer, turn)

    def _let_in(self, exchange: Exchange, turn: Turn, answer: ChatResponse) -> Refusal | None:
        now = asyncio.get_running_loop().time()
        tokens = answer.usage.input_tokens + answer.usage.output_tokens
        refusal = self._gate.refuse_health(now, turn.asked)
        return refusal or self._gate.refuse_limit(now, tokens, exchange.stats.in_flight)

    async def _answer(
        self, request: web.BaseRequest, exchange: Exchange, asked: Asked, answer: ChatResponse, turn: Turn
    ) -> web.StreamResponse:
        spoilt = sabotage_of(self._settings, turn, asked.stream) if self._sabotages else None
        if turn.fault is not None:
            exchange.reason = f"errors.{turn.fault}"
        elif spoilt is not None:
            exchange.reason = spoilt
        if turn.fault == "content_filter":
            answer = replace(answer, text="", tool_calls=(), finish_reason="content_filter")
        elif turn.fault is not None and spoilt is None:
            return self._refuse(exchange, self._refusal_of(turn.fault))
        if spoilt == "hang":
            await self._stopped.wait()
        if spoilt in ("hang", "disconnect"):
            close(request)
            return web.Response()
        exchange.status = 200
        if spoilt is None:
            exchange.answered(answer.usage)
        return await self._send(request, exchange, asked, answer, spoilt)

    async def _send(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        asked: Asked,
        answer: ChatResponse,
        spoilt: Sabotage | None,
    ) -> web.StreamResponse:
        headers = self._headers(exchange)
        if spoilt == "html":
            return html_response(headers)
        if asked.stream:
            events = list(exchange.dialect.events(answer, asked.stream_usage))
            if spoilt is not None:
                events = events[: (len(events) + 1) // 2]
            if spoilt == "stream_error":
                events.append(exchange.dialect.error_event())
            cut = spoilt == "disconnect_in_body"
            return await send_events(request, events, headers, delay=self._settings.chunk_delay, then_close=cut)
        value = exchange.dialect.answer(answer)
        if spoilt == "disconnect_in_body":
            return await send_half(request, value, headers)
        return cut_json_response(value, headers) if spoilt == "truncate" else json_response(200, value, headers)

    def _refusal_of(self, fault: FaultKind) -> Refusal:
        wait = self._settings.errors.retry_after if fault in ("rate_limited", "overloaded") else None
        return Refusal(fault, f"errors.{fault}", f"The mock failed on purpose (errors.{fault}).", wait)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> web.Response:
        status, body = exchange.dialect.error(refusal.kind, refusal.message, exchange.id)
        exchange.status, exchange.reason = status, refusal.reason
        headers = self._headers(exchange)
        headers.update(retry_after_headers(self._settings.retry_after, refusal.retry_after))
        return json_response(status, body, headers)

    def _headers(self, exchange: Exchange) -> dict[str, str]:
        headers = {"x-request-id": exchange.id}
        headers[exchange.dialect.id_header] = exchange.id
        if not self._gate.limit.unlimited:
            standing = self._gate.limit.standing(asyncio.get_running_loop().time())
            headers.update(exchange.dialect.limit_headers(standing))
        return headers
