"""One request for an answer, from its arrival to its line in the log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from agentbatch.messages import Usage
from agentbatch.mock_server.anthropic_dialect import AnthropicDialect
from agentbatch.mock_server.openai_dialect import OpenAIDialect
from agentbatch.mock_server.request_log import LogLine, now_utc
from agentbatch.mock_server.stats import Stats

Dialect = OpenAIDialect | AnthropicDialect


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far. `status` stays 0 for one that gets no answer."""

    dialect: Dialect
    path: str
    id: str
    traceparent: str | None
    stats: Stats
    key: bytes | None = None
    model: str | None = None
    status: int = 0
    reason: str | None = None
    came_at: str = field(default_factory=now_utc)
    began: float = field(default_factory=time.perf_counter)

    def understood(self, key: bytes, model: str) -> None:
        """The body could be read; `key` stands for all of its content."""
        self.key, self.model = key, model
        self.stats.understood(key)

    def answered(self, usage: Usage) -> None:
        """A whole answer is on its way."""
        if self.key is not None:
            self.stats.answered(self.key, usage)

    def log_line(self) -> LogLine:
        """The line of the log, once it is over."""
        return LogLine(
            time=self.came_at,
            path=self.path,
            prompt=None if self.key is None else self.key.hex(),
            status=self.status,
            id=self.id,
            reason=self.reason,
            model=self.model,
            duration_s=round(time.perf_counter() - self.began, 6),
            traceparent=self.traceparent,
        )
