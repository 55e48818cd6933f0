"""OpenAI's Batch API: a file of requests is uploaded, a batch made of it, and its output files are read.

Source: https://platform.openai.com/docs/guides/batch and https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from agentbatch.batches.base import BatchState, NotInBatch, QueueFull
from agentbatch.batches.exchange import Exchange, result_line, seconds_of, text_headers
from agentbatch.errors import BadRequest, BadResponse, StepError
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.http_api import with_body
from agentbatch.models.json_answer import count, mapping, parse_answer, sequence, text
from agentbatch.models.refusals import refusal
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse

_MARK = "agentbatch"
"""Under this name a batch's metadata have our token."""

_ENDED = ("completed", "failed", "expired", "cancelled")
_GONE = ("batch_expired", "batch_cancelled", "request_cancelled")
_PAGE = 100
_MOST_PAGES = 50
_CLOCKS_DIFFER_S = 3600.0


class OpenAIBatches:
    """The `BatchApi` of an `openai` model."""

    max_requests = 50_000
    names_batches = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def line(self, key: str, body: bytes) -> bytes:
        """One request as it stands in the file."""
        head = orjson.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions"})
        return head[:-1] + b',"body":' + body + b"}"

    async def submit(self, lines: bytes, count: int, token: str) -> str:
        """Upload the file, make the batch. A file whose batch could not be made is deleted again."""
        kind, body = _form({"purpose": "batch"}, f"agentbatch-{token}.jsonl", lines)
        file = text((await self._exchange.upload("POST", "/files", body, kind)).get("id"))
        wanted = {
            "input_file_id": file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {_MARK: token},
        }
        try:
            made = await self._exchange.json("POST", "/batches", wanted)
        except StepError as error:
            if not error.retryable:
                with suppress(StepError):
                    await self._exchange.json("DELETE", f"/files/{quote(file, safe='')}")
            raise
        return _id_in(made)

    async def find(self, token: str, count: int, since: float, known: Collection[str]) -> str | None:
        """By the token in its metadata, among the batches since then."""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = await self._exchange.json("GET", f"/batches?{urlencode({'limit': _PAGE, **after})}")
            batches = [mapping(each) for each in sequence(page.get("data"))]
            for batch in batches:
                if mapping(batch.get("metadata")).get(_MARK) == token:
                    return _id_in(batch)
            if not batches or not page.get("has_more"):
                return None
            if seconds_of(batches[-1].get("created_at")) < since - _CLOCKS_DIFFER_S:
                return None
            after = {"after": text(batches[-1].get("id"))}
        return None

    async def look(self, batch: str) -> BatchState:
        """How it stands."""
        found = await self._exchange.json("GET", f"/batches/{quote(batch, safe='')}")
        status, counts = text(found.get("status")), mapping(found.get("request_counts"))
        files = [file for name in ("output_file_id", "error_file_id") if (file := text(found.get(name)))]
        done = count(counts.get("completed")) + count(counts.get("failed"))
        return BatchState(
            id=batch,
            words=status,
            ended=status in _ENDED,
            done=done,
            total=count(counts.get("total")),
            fault=_fault(mapping(found.get("errors"))) if status == "failed" else None,
            sources=tuple(f"/files/{quote(file, safe='')}/content" for file in files),
            has_all=status == "completed",
            awaits_files=bool(done and not files) and status != "failed",
        )

    async def cancel(self, batch: str) -> None:
        """Answer no more of it."""
        await self._exchange.json("POST", f"/batches/{quote(batch, safe='')}/cancel")

    async def results(self, state: BatchState) -> AsyncIterator[tuple[str, bytes]]:
        """The lines of the output file, and of that of the errors."""
        fault: StepError | None = None
        for source in state.sources:
            try:
                async for key, line in self._exchange.results(source):
                    yield key, line
            except StepError as error:  # the other file may be whole
                fault = fault or error
        if fault is not None:
            raise fault

    def read(self, line: bytes, request: ChatRequest) -> ChatResponse:
        """The answer in a line."""
        _, fields = result_line(line)
        response, error = mapping(fields.get("response")), mapping(fields.get("error"))
        status = response.get("status_code")
        if not response or not isinstance(status, int):
            code = text(error.get("code"))
            words = f"{code}: {visible(text(error.get('message')), 300)}"
            raise (NotInBatch if code in _GONE or not code else BadRequest)(words)
        headers = text_headers(response.get("request_id"))
        body = orjson.dumps(response.get("body"))
        if not 200 <= status < 300:
            raise refusal(status, headers, body, time.time())
        answer = parse_answer(body)
        return with_body(self._exchange.api.understood(answer, HttpResponse(status, headers, body)), answer, request)


def _fault(errors: Any) -> StepError:
    """Why a batch was refused as a whole."""
    first = next((mapping(each) for each in sequence(mapping(errors).get("data"))), mapping(None))
    code = text(first.get("code"))
    words = f"the batch was refused: {visible(text(first.get('message')) or code, 300) or 'no reason given'}"
    return QueueFull(words) if code == "token_limit_exceeded" else BadRequest(words)


def _id_in(fields: Any) -> str:
    found = text(mapping(fields).get("id"))
    if not found:
        raise BadResponse("the answer has no batch in it")
    return found


def _form(fields: dict[str, str], name: str, content: bytes) -> tuple[str, bytes]:
    """Fields and a file as multipart/form-data (RFC 7578): the content type, and the body."""
    boundary = "agentbatch-5b1c0f9e7d"  # custom ids and JSON hold no line that begins with two hyphens
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    file = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    whole = b"".join([*(part.encode() for part in parts), file.encode(), content, f"\r\n--{boundary}--\r\n".encode()])
    return f"multipart/form-data; boundary={boundary}", whole
