"""Which answers are spoilt on their way, and how."""

from __future__ import annotations

from typing import Literal

from agentbatch.mock_server.settings import MockServerSettings
from agentbatch.models.mock_draws import fraction
from agentbatch.models.mock_faults import FaultKind
from agentbatch.models.mock_mishaps import mishap_of, without_mishaps
from agentbatch.models.mock_pace import Turn

Sabotage = Literal["hang", "disconnect", "disconnect_in_body", "truncate", "stream_error", "html"]

_OF_FAULT: dict[FaultKind, Sabotage] = {"timeout": "hang", "connection": "disconnect", "bad_response": "html"}


def sabotage_of(settings: MockServerSettings, turn: Turn, stream: bool) -> Sabotage | None:
    """How the answer of this turn is spoilt, if it is. Faults that have no status code are spoilt answers too."""
    key = turn.key
    if turn.fault is not None:
        return _OF_FAULT.get(turn.fault)
    mishap = mishap_of(settings, key)
    if mishap is not None:
        return "disconnect_in_body" if mishap == "disconnect" and fraction(key, b"where") >= 0.5 else mishap
    return "stream_error" if stream and fraction(key, b"stream_error") < settings.stream_error else None


def never(settings: MockServerSettings) -> bool:
    """Whether no chance has to be drawn at all."""
    spoilt = settings.stream_error or any(settings.errors.rate(kind) for kind in _OF_FAULT)
    return without_mishaps(settings) and not spoilt
