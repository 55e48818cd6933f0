"""`provider_batch` of a model."""

from __future__ import annotations

from typing import Literal

from agentbatch.settings import Duration, PositiveInt, Settings


class ProviderBatchConfig(Settings):
    """Requests go through the provider's batch API: half the price, and an answer within a day."""

    max_requests: PositiveInt | None = None
    """Requests of one batch. Default: as many as the provider takes (OpenAI 50,000, Anthropic 100,000)."""
    max_waiting: PositiveInt = 20_000
    """Items that may wait in batches at once: they don't count as in flight, and hold some 20 kB each."""
    gather: Duration = 300.0
    """A batch that is not full is submitted so long after its first request; at once if nothing can be added."""
    poll_every: Duration = 60.0
    """The longest time between two looks at a batch; the first ones are closer together."""
    max_wait: Duration | None = None
    """A batch that takes longer is cancelled; what it has not answered counts as expired. Default: the provider's."""
    on_expired: Literal["retry", "online"] = "retry"
    """What becomes of requests that expired or failed for a time: another batch, or the ordinary way at full price."""
