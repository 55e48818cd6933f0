"""What agents behind a server of their own share: how it may be used."""

from __future__ import annotations

from pydantic import Field

from agentbatch.agents.base import AgentConfig
from agentbatch.assembly import Assembly
from agentbatch.endpoints.remote import Remote, RemoteTerms
from agentbatch.retry import RetryPolicy
from agentbatch.settings import Duration, PositiveInt


class RemoteConfig(AgentConfig):
    """An agent that somebody else's server runs."""

    timeout: Duration | None = 600.0
    """How long it may work on one item, retries and the wait for a job's end included."""
    request_timeout: Duration = 60.0
    """One request, from sending to the last byte."""
    retries: int = Field(default=4, ge=0, le=100)
    """Attempts after the first, of a request that failed in a way that may pass: 408, 409, 429, 5xx, no connection, no
    answer in time. A server that must not be given the same work twice wants 0, or a key that tells it so."""
    max_concurrency: PositiveInt | None = 64
    """Requests, and jobs that they began, at once, over all items."""
    rpm: PositiveInt | None = None
    """Requests in any 60 s, retries included; looks at a job's status do not count."""


def build_remote(config: RemoteConfig, name: str, assembly: Assembly) -> Remote:
    """The server that `config` describes."""
    limiter = assembly.limiter(f"agent {name}", max_concurrency=config.max_concurrency, rpm=config.rpm)
    terms = RemoteTerms(limiter, RetryPolicy(retries=config.retries), config.request_timeout)
    return Remote(name, terms, assembly.control, assembly.budget)
