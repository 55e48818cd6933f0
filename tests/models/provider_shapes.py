"""A provider that answers from a script, through a real HTTP client without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

from agentbatch.transports.httpx_client import HttpxTransport

Answer = Any
"""A JSON value, or the bytes of a body."""


class ScriptedProvider:
    """Answers each request with the next of `answers` (the last one again and again) and keeps the requests."""

    def __init__(self, *answers: Answer, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers = list(answers)
        self._status = status
        self._headers = headers or {}

    def transport(self) -> HttpxTransport:
        return HttpxTransport(transport=httpx2.MockTransport(self._answer))

    @property
    def sent(self) -> dict[str, Any]:
        """The last request's body."""
        return json.loads(self.requests[-1].content)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(self._status, headers=self._headers, content=content)


Make = Callable[..., dict[str, Any]]
