"""Anthropic's Message Batches.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing and
https://platform.claude.com/docs/en/api/messages/batches
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from agentbatch.batches.base import BatchState, NotInBatch
from agentbatch.batches.exchange import Exchange, result_line
from agentbatch.errors import BadResponse
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.json_answer import count as counted
from agentbatch.models.json_answer import mapping, sequence, text
from agentbatch.models.refusals import refusal_amid
from agentbatch.transports.base import HttpResponse

_PATH = "/v1/messages/batches"
_COUNTS = ("succeeded", "errored", "canceled", "expired")
_PAGE = 100
_MOST_PAGES = 50
_CLOCKS_DIFFER_S = 600.0


class AnthropicBatches:
    """The `BatchApi` of an `anthropic` model."""

    max_requests = 100_000
    names_batches = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def line(self, key: str, body: bytes) -> bytes:
        """One request as it stands among the others."""
        return orjson.dumps({"custom_id": key})[:-1] + b',"params":' + body + b"}"

    async def submit(self, lines: bytes, count: int, token: str) -> str:
        """All requests in one body."""
        body = b'{"requests":[' + lines.rstrip(b"\n").replace(b"\n", b",") + b"]}"
        return _id_in(await self._exchange.upload("POST", _PATH, body, "application/json"))

    async def find(self, token: str, count: int, since: float, known: Collection[str]) -> str | None:
        """There are no metadata: it is probably the batch of that size, made first since then, that nobody here knows.

        Were it another's, none of its results would have our custom ids.
        """
        after: dict[str, str] = {}
        candidates: list[tuple[bool, float, str]] = []
        for _ in range(_MOST_PAGES):
            page = await self._exchange.json("GET", f"{_PATH}?{urlencode({'limit': _PAGE, **after})}")
            batches = [mapping(each) for each in sequence(page.get("data"))]
            recent = [batch for batch in batches if _made_at(batch) >= since - _CLOCKS_DIFFER_S]
            for batch in recent:
                if text(batch.get("id")) not in known and _total(mapping(batch.get("request_counts"))) == count:
                    candidates.append((_made_at(batch) < since, abs(_made_at(batch) - since), _id_in(batch)))
            if len(recent) < len(batches) or not page.get("has_more"):
                break
            after = {"after_id": text(page.get("last_id"))}
        return min(candidates)[2] if candidates else None

    async def look(self, batch: str) -> BatchState:
        """How it stands."""
        found = await self._exchange.json("GET", f"{_PATH}/{quote(batch, safe='')}")
        counts, status = mapping(found.get("request_counts")), text(found.get("processing_status"))
        return BatchState(
            id=batch,
            words=status.replace("_", " "),
            ended=status == "ended",
            done=_done(counts),
            total=_total(counts),
            sources=(f"{_PATH}/{quote(batch, safe='')}/results",),
            has_all=True,
        )

    async def cancel(self, batch: str) -> None:
        """Answer no more of it."""
        await self._exchange.json("POST", f"{_PATH}/{quote(batch, safe='')}/cancel")

    async def results(self, state: BatchState) -> AsyncIterator[tuple[str, bytes]]:
        """The lines of its results."""
        for source in state.sources:
            async for key, line in self._exchange.results(source):
                yield key, line

    def read(self, line: bytes, request: ChatRequest) -> ChatResponse:
        """The answer in a line."""
        result = mapping(result_line(line)[1].get("result"))
        kind = text(result.get("type"))
        if kind == "succeeded":
            message = mapping(result.get("message"))
            return self._exchange.api.understood(message, HttpResponse(200, {}, b""))
        if kind == "errored":
            error = mapping(result.get("error"))
            frame = error if "error" in error else {"error": error}
            raise refusal_amid(frame, orjson.dumps(frame), {}, "the request failed in its batch")
        raise NotInBatch(f"the request has {'expired' if kind == 'expired' else 'been canceled'} in its batch")


def _id_in(fields: Any) -> str:
    found = text(mapping(fields).get("id"))
    if not found:
        raise BadResponse("the answer has no batch in it")
    return found


def _done(counts: Any) -> int:
    return sum(counted(mapping(counts).get(name)) for name in _COUNTS)


def _total(counts: Any) -> int:
    return _done(counts) + counted(mapping(counts).get("processing"))


def _made_at(batch: Any) -> float:
    """Unix time; now, where it does not say."""
    try:
        return datetime.fromisoformat(text(mapping(batch).get("created_at"))).timestamp()
    except ValueError:
        return time.time()
