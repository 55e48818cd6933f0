"""The failures a mock can show: how often each kind, which one now, and the error it becomes."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from agentbatch.errors import (
    AuthFault,
    BadRequest,
    BadResponse,
    ConnectionFault,
    ContentFilter,
    ContextLength,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
    StepTimeout,
)
from agentbatch.models.mock_draws import fraction
from agentbatch.models.mock_latency import Pause
from agentbatch.settings import Settings

FaultKind = Literal[
    "rate_limited",
    "overloaded",
    "server",
    "timeout",
    "connection",
    "bad_request",
    "auth",
    "quota",
    "content_filter",
    "bad_response",
    "context_length",
]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

Rate = Annotated[float, Field(ge=0, le=1)]
"""A share of requests: 0 none, 0.05 one in twenty, 1 all."""


class FaultRates(Settings):
    """The share of requests that fail, by the `error.type` they end in."""

    rate_limited: Rate = 0.0
    overloaded: Rate = 0.0
    server: Rate = 0.0
    timeout: Rate = 0.0
    connection: Rate = 0.0
    bad_request: Rate = 0.0
    auth: Rate = 0.0
    quota: Rate = 0.0
    content_filter: Rate = 0.0
    bad_response: Rate = 0.0
    context_length: Rate = 0.0
    retry_after: Pause | None = None
    """The wait that a `rate_limited` or `overloaded` answer asks for."""

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        total = sum(self.rate(kind) for kind in FAULT_KINDS)
        if total > 1 + 1e-9:
            raise ValueError(f"the rates add up to {total:g}; together they can't be more than 1")
        return self

    def rate(self, kind: FaultKind) -> float:
        """The share of requests that fail in this way."""
        return getattr(self, kind)


class FaultDraw:
    """Which fault, if any, a request meets."""

    def __init__(self, rates: FaultRates) -> None:
        self._steps: list[tuple[float, FaultKind]] = []
        total = 0.0
        for kind in FAULT_KINDS:
            if rates.rate(kind):
                total += rates.rate(kind)
                self._steps.append((total, kind))
        self.never = not self._steps

    def draw(self, key: bytes) -> FaultKind | None:
        """The fault of the request with this key, or None: the same for the same key."""
        if self.never:
            return None
        point = fraction(key, b"fault")
        return next((kind for limit, kind in self._steps if point < limit), None)


_ERRORS: Final[dict[FaultKind, tuple[type[StepError], int | None]]] = {
    "rate_limited": (RateLimited, 429),
    "overloaded": (Overloaded, 503),
    "server": (ServerFault, 500),
    "timeout": (StepTimeout, None),
    "connection": (ConnectionFault, None),
    "bad_request": (BadRequest, 400),
    "auth": (AuthFault, 401),
    "quota": (QuotaFault, 429),
    "content_filter": (ContentFilter, None),
    "bad_response": (BadResponse, None),
    "context_length": (ContextLength, 400),
}


def fault_error(kind: FaultKind, retry_after: float | None = None, request_id: str | None = None) -> StepError:
    """The error that a client of a real endpoint would raise for this fault."""
    error, status = _ERRORS[kind]
    wait = retry_after if kind in ("rate_limited", "overloaded") else None
    message = f"the mock failed on purpose (errors.{kind})"
    return error(message, http_status=status, retry_after=wait, request_id=request_id)
