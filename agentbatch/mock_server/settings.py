"""The knobs of the mock server: those of the mock model, and the ways a network and an endpoint can misbehave."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentbatch.models.mock_answer import MockKnobs
from agentbatch.models.mock_faults import Rate
from agentbatch.models.mock_latency import Pause
from agentbatch.settings import Duration, PositiveInt, Settings

RetryAfterForm = Literal["seconds", "ms", "date", "none"]


class Outage(Settings):
    """A time in which the server answers everything with 503."""

    start: Pause
    """After the first request."""
    duration: Duration


class MockServerSettings(MockKnobs):
    """All knobs of `agentbatch mock`, as its `--config` file spells them."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes any free port."""
    models: list[str] = Field(default_factory=lambda: ["mock"])
    """What `GET /v1/models` lists; any model is answered."""
    rpm: PositiveInt | None = None
    """Requests a minute; more are refused with 429."""
    tpm: PositiveInt | None = None
    """Tokens a minute, of prompts and answers; more are refused with 429."""
    window: Duration = 60.0
    """The limits hold in any stretch of this length: `rpm: 600` with `window: 1s` lets 10 pass in any second."""
    max_in_flight: PositiveInt | None = None
    """Requests being answered at once; more are refused with 429."""
    retry_after: RetryAfterForm = "seconds"
    """How a 429 or 503 says when to come back: `Retry-After` in whole seconds, `retry-after-ms`, a date, or not."""
    stream_error: Rate = 0.0
    """The share of streams that break off with an error event."""
    chunk_delay: Pause = 0.0
    """The pause between two events of a stream."""
    require_key: str | None = Field(default=None, min_length=1)
    """401 for requests with any other key."""
    fail_first: int = Field(default=0, ge=0)
    """The first so many requests get 503."""
    fail_each: int = Field(default=0, ge=0)
    """Every request gets 503 the first so many times that it is asked."""
    outage: Outage | None = None
    batch_delay: Duration = 1.0
    """How long a batch takes, of OpenAI's or Anthropic's batch API."""
    batch_expire: Rate = 0.0
    """The share of a batch's requests that expire."""
    batch_lost_answers: int = Field(default=0, ge=0)
    """The first so many batches are made, and answered with 500 all the same."""
    log: str | None = None
    """A file that gets one JSON line for each request."""
