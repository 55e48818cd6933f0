"""The batch APIs of OpenAI (Files and Batches) and Anthropic (Message Batches), seen from the server.

A batch takes `batch_delay`; its requests are answered one after the other meanwhile, so that one that is cancelled has
part of its answers. Sources: https://platform.openai.com/docs/api-reference/batch,
https://platform.claude.com/docs/en/api/messages/batches
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from agentbatch.errors import StepError
from agentbatch.mock_server.anthropic_dialect import AnthropicDialect
from agentbatch.mock_server.asked import MalformedBody, json_object, mapping, objects
from agentbatch.mock_server.exchange import Dialect
from agentbatch.mock_server.openai_dialect import OpenAIDialect
from agentbatch.mock_server.sending import json_response
from agentbatch.mock_server.settings import MockServerSettings
from agentbatch.mock_server.stats import Stats
from agentbatch.models.mock_answer import Answers
from agentbatch.models.mock_pace import Pace

_SECONDS_A_DAY = 86_400


@dataclass(slots=True)
class _Batch:
    """One batch: its requests by custom id, and what each came to, as far as it has."""

    id: str
    dialect: Dialect
    requests: list[tuple[str, Mapping[str, Any]]]
    made_at: float
    ready_at: float
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ended_at: float | None = None
    cancelled: bool = False
    fault: str = ""
    outcomes: list[tuple[str, dict[str, Any] | None, str]] = field(
        default_factory=list[tuple[str, dict[str, Any] | None, str]]
    )
    """Custom id, the answer's or the error's body, and which it is: `ok`, `failed`, `expired`, `canceled`."""

    def count(self, *kinds: str) -> int:
        return sum(kind in kinds for _, _, kind in self.outcomes)


class Batches:
    """All files and batches of one server. `stats` gives where answers are counted."""

    def __init__(self, settings: MockServerSettings, stats: Callable[[], Stats]) -> None:
        self._settings = settings
        self._stats = stats
        self._answers = Answers(settings)
        self._pace = Pace(settings, counting=True)
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._lost = settings.batch_lost_answers
        self._numbers = 0

    async def reply(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request for a file or a batch; None where it is for something else."""
        parts = request.path.strip("/").split("/")
        for place, part in enumerate(parts):
            if part in ("files", "batches"):
                below, anthropic = parts[place + 1 :], place > 0 and parts[place - 1] == "messages"
                try:
                    if part == "files":
                        return await self._file(request, below)
                    return await (self._anthropic if anthropic else self._openai)(request, below)
                except MalformedBody as error:
                    return _refusal(400, str(error))
                except KeyError:
                    return _refusal(404, f"No such {part[:-1]}: {'/'.join(below)}")
        return None

    # OpenAI

    async def _file(self, request: web.BaseRequest, below: list[str]) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            sent = form.get("file")
            if not isinstance(sent, web.FileField):
                raise MalformedBody("Missing required parameter: 'file'.")
            name = self._new("file")
            self._files[name] = sent.file.read()
            facts = {"id": name, "object": "file", "bytes": len(self._files[name]), "purpose": form.get("purpose")}
            return json_response(200, facts)
        if request.method == "DELETE":
            del self._files[below[0]]
            return json_response(200, {"id": below[0], "object": "file", "deleted": True})
        if below[0] not in self._files and (found := self._output_of(below[0])) is not None:
            return web.Response(body=found, content_type="application/jsonl")
        return web.Response(body=self._files[below[0]], content_type="application/jsonl")

    def _output_of(self, file: str) -> bytes | None:
        """`out-<batch>` are a batch's answers, `err-<batch>` what failed."""
        kind, _, name = file.partition("-")
        batch = self._batches.get(name)
        if batch is None:
            return None
        wanted = ("ok", "failed") if kind == "out" else ("expired", "canceled")
        lines = [_openai_line(*outcome) for outcome in batch.outcomes if outcome[2] in wanted]
        return b"".join(orjson.dumps(line) + b"\n" for line in lines)

    async def _openai(self, request: web.BaseRequest, below: list[str]) -> web.Response:
        if request.method == "POST" and not below:
            wanted = json_object(await request.read())
            content = self._files[str(wanted.get("input_file_id"))]
            batch = self._make("batch", OpenAIDialect(), _requests_in(content))
            batch.metadata = mapping(wanted.get("metadata"))
            return self._made(batch, _openai_batch(batch))
        if below:
            batch = self._looked_at(below[0])
            if below[1:] == ["cancel"]:
                self._cancel(batch)
            return json_response(200, _openai_batch(batch))
        page, more = self._page(request, "after")
        return json_response(200, {"object": "list", "data": [_openai_batch(each) for each in page], "has_more": more})

    # Anthropic

    async def _anthropic(self, request: web.BaseRequest, below: list[str]) -> web.Response:
        if request.method == "POST" and not below:
            asked = objects(json_object(await request.read()), "requests")
            requests = [(str(each.get("custom_id")), mapping(each.get("params"))) for each in asked]
            batch = self._make("msgbatch", AnthropicDialect(), requests)
            return self._made(batch, _anthropic_batch(batch))
        if below:
            batch = self._looked_at(below[0])
            if below[1:] == ["cancel"]:
                self._cancel(batch)
            if below[1:] == ["results"]:
                lines = [_anthropic_line(*outcome) for outcome in batch.outcomes]
                body = b"".join(orjson.dumps(line) + b"\n" for line in lines)
                return web.Response(body=body, content_type="application/x-jsonl")
            return json_response(200, _anthropic_batch(batch))
        page, more = self._page(request, "after_id")
        data = [_anthropic_batch(each) for each in page]
        return json_response(200, {"data": data, "has_more": more, "last_id": data[-1]["id"] if data else None})

    # both

    def _new(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}_{self._numbers:06d}"

    def _make(self, kind: str, dialect: Dialect, requests: list[tuple[str, Mapping[str, Any]]]) -> _Batch:
        if not requests or len({key for key, _ in requests}) < len(requests):
            raise MalformedBody("A batch needs requests, each with a custom_id of its own.")
        now = time.time()
        batch = _Batch(self._new(kind), dialect, requests, now, now + self._settings.batch_delay)
        self._batches[batch.id] = batch
        self._stats().batch(len(requests))
        return batch

    def _made(self, batch: _Batch, facts: dict[str, Any]) -> web.Response:
        if self._lost:
            self._lost -= 1
            return _refusal(500, "The batch was made, and this answer was lost on purpose (batch_lost_answers).")
        return json_response(200, facts)

    def _page(self, request: web.BaseRequest, after: str) -> tuple[list[_Batch], bool]:
        """The newest first, some at a time."""
        newest = [self._looked_at(name) for name in reversed(self._batches)]
        names = [batch.id for batch in newest]
        start = names.index(request.query[after]) + 1 if after in request.query else 0
        end = start + int(request.query.get("limit", "20"))
        return newest[start:end], end < len(newest)

    def _looked_at(self, name: str) -> _Batch:
        """The batch as it stands now: what its time was enough for is answered."""
        batch = self._batches[name]
        if batch.ended_at is None:
            whole, now = max(batch.ready_at - batch.made_at, 1e-9), time.time()
            share = min(1.0, (now - batch.made_at) / whole)
            self._work(batch, int(share * len(batch.requests)))
            if share == 1.0:
                batch.ended_at = now
        return batch

    def _cancel(self, batch: _Batch) -> None:
        if batch.ended_at is None:
            batch.cancelled, batch.ended_at = True, time.time()
            left = batch.requests[len(batch.outcomes) :]
            batch.outcomes += [(key, None, "canceled") for key, _ in left]

    def _work(self, batch: _Batch, until: int) -> None:
        for key, body in batch.requests[len(batch.outcomes) : until]:
            batch.outcomes.append(self._answer(batch, key, body))

    def _answer(self, batch: _Batch, key: str, body: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None, str]:
        drawn = random.Random(f"{self._settings.seed} {batch.id} {key}").random()
        if drawn < self._settings.batch_expire:
            return key, None, "expired"
        try:
            asked = batch.dialect.read(body)
            question = self._answers.read(asked.request, asked.model)
        except (MalformedBody, StepError) as error:
            return key, batch.dialect.error("bad_request", str(error), key)[1], "failed"
        turn = self._pace.next(question.key)
        if turn.fault is not None and turn.fault != "content_filter":
            words = f"The mock failed on purpose (errors.{turn.fault})."
            status, refused = batch.dialect.error(turn.fault, words, key)
            return key, {"status": status, "body": refused}, "failed"
        answer = self._answers.answer(question)
        self._stats().understood(question.key)
        self._stats().answered(question.key, answer.usage)
        return key, batch.dialect.answer(answer), "ok"


def _requests_in(content: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    lines = [json_object(line) for line in content.splitlines() if line.strip()]
    return [(str(line.get("custom_id")), mapping(line.get("body"))) for line in lines]


def _openai_batch(batch: _Batch) -> dict[str, Any]:
    status = "cancelled" if batch.cancelled else "completed" if batch.ended_at is not None else "in_progress"
    ended = batch.ended_at is not None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "status": status,
        "created_at": int(batch.made_at),
        "expires_at": int(batch.made_at) + _SECONDS_A_DAY,
        "metadata": batch.metadata,
        "output_file_id": f"out-{batch.id}" if ended and batch.count("ok", "failed") else None,
        "error_file_id": f"err-{batch.id}" if ended and batch.count("expired", "canceled") else None,
        "request_counts": {
            "total": len(batch.requests),
            "completed": batch.count("ok"),
            "failed": batch.count("failed", "expired"),
        },
    }


def _openai_line(key: str, body: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"batch_req_{key}", "custom_id": key, "response": None, "error": None}
    if kind in ("expired", "canceled"):
        code = "batch_expired" if kind == "expired" else "batch_cancelled"
        return {**line, "error": {"code": code, "message": "This request could not be executed in time."}}
    refused = mapping(body)
    failed = kind == "failed" and "status" in refused
    status = refused["status"] if failed else 400 if kind == "failed" else 200
    said = refused["body"] if failed else body
    return {**line, "response": {"status_code": status, "request_id": f"req_{key}", "body": said}}


def _anthropic_batch(batch: _Batch) -> dict[str, Any]:
    answered = len(batch.outcomes)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended_at is not None else "in_progress",
        "created_at": datetime.fromtimestamp(batch.made_at, UTC).isoformat(),
        "request_counts": {
            "processing": len(batch.requests) - answered,
            "succeeded": batch.count("ok"),
            "errored": batch.count("failed"),
            "canceled": batch.count("canceled"),
            "expired": batch.count("expired"),
        },
    }


def _anthropic_line(key: str, body: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    if kind == "ok":
        result: dict[str, Any] = {"type": "succeeded", "message": body}
    elif kind == "failed":
        result = {"type": "errored", "error": mapping(body).get("body", body)}
    else:
        result = {"type": kind}
    return {"custom_id": key, "result": result}


def _refusal(status: int, message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error" if status < 500 else "server_error", "code": None}
    return json_response(status, {"type": "error", "error": error})
