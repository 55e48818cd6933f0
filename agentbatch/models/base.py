"""The contract of a model: one request in, one whole answer out, no retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from agentbatch.endpoints.prices import HALF
from agentbatch.errors import InternalFault
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.credentials import ApiKey, BaseUrl, HeaderName
from agentbatch.settings import Duration, ModelName, PositiveInt, Settings

FallbackError = Literal[
    "auth",
    "bad_request",
    "bad_response",
    "connection",
    "content_filter",
    "context_length",
    "overloaded",
    "quota",
    "rate_limited",
    "server",
    "timeout",
]


class Price(Settings):
    """US dollars per 1M tokens."""

    input: float = Field(ge=0)
    """Of the prompt."""
    output: float = Field(ge=0)
    """Of the answer."""
    cached_input: float | None = Field(default=None, ge=0)
    """Of the prompt, read from the provider's cache. Default: as input."""
    cache_write: float | None = Field(default=None, ge=0)
    """Of the prompt, written to the provider's cache. Default: as input."""
    cache_write_1h: float | None = Field(default=None, ge=0)
    """The same, to be kept for an hour (Anthropic). Default: as `cache_write`."""
    reasoning: float | None = Field(default=None, ge=0)
    """Of the answer, spent on reasoning. Default: as output, which is what most providers charge."""
    request: float = Field(default=0.0, ge=0)
    """US dollars for each request, on top."""
    batch: float = Field(default=HALF, ge=0)
    """What all this costs through `provider_batch`, as a share."""


class FallbackModel(Settings):
    """A model that stands in for another one after some errors only."""

    model: ModelName
    """Who is asked."""
    on: list[FallbackError] = Field(min_length=1)
    """After which types of errors. One that is asked for `rate_limited` is also asked while the other rests."""


class ModelConfig(Settings):
    """What every provider's config shares. Limits belong to the endpoint and are shared by all its agents."""

    max_concurrency: PositiveInt | Literal["auto"] = 64
    """Requests in flight at once; `auto` grows and shrinks with what the server accepts."""
    rpm: PositiveInt | None = None
    """Requests in any 60 s, retries included."""
    tpm: PositiveInt | None = None
    """Tokens in any 60 s, prompt and answer."""
    timeout: Duration | None = None
    """One attempt, from sending to the last byte. Default: `defaults.timeout`, or 60 s."""
    retries: int | None = Field(default=None, ge=0)
    """Attempts after the first. Default: `defaults.retries`, or 4."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Sent with each request as they are, under the provider's own names."""
    price: Price | None = None
    """Default: looked up by the model's name."""
    fallbacks: list[ModelName | FallbackModel] = Field(default_factory=list["str | FallbackModel"])
    """Other models to ask, in order, when this one is overloaded, down, or finds the request too long."""

    @property
    def batch_share(self) -> float:
        """What requests cost through `provider_batch`, as a share of the ordinary price."""
        return HALF if self.price is None else self.price.batch

    @property
    def fallback_names(self) -> list[str]:
        """The models that stand in, in order."""
        return [each if isinstance(each, str) else each.model for each in self.fallbacks]


class HttpModelConfig(ModelConfig):
    """What the configs of all models behind an HTTP API share."""

    model: str
    """The provider's name of the model."""
    transport: Literal["direct", "aiohttp", "httpx"] = "direct"
    """The HTTP client. `aiohttp` forgives servers more that write HTTP loosely; `httpx` is the slowest, and knows
    proxies and client certificates from the environment."""
    extra_headers: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    """Headers sent with every request, on top of the provider's own."""


class EndpointConfig(Settings):
    """One of several servers or keys behind a model. What is left out is as the model has it."""

    base_url: BaseUrl | None = None
    """Where its API begins."""
    api_key: ApiKey | None = None
    """Its key. Default: the model's, but not one that is meant for the provider's own server if this is another."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the requests, compared to the others'."""
    max_concurrency: PositiveInt | Literal["auto"] | None = None
    """Its requests in flight at once."""
    rpm: PositiveInt | None = None
    """Its requests in any 60 s."""
    tpm: PositiveInt | None = None
    """Its tokens in any 60 s."""


class ServedModelConfig(HttpModelConfig):
    """What the configs of all providers share: each says where its own server is, and how it wants its key."""

    base_url: BaseUrl
    api_key: ApiKey | None = None
    auth: HeaderName
    stream: bool = False
    """Receive answers piece by piece: the time to the first token is measured, and a server that falls silent is found
    out early. A stream that breaks off is a failed attempt, never half an answer."""
    chunk_timeout: Duration = 30.0
    """Of a stream that has begun: the longest silence between two pieces. The wait for the first is the attempt's."""
    endpoints: list[EndpointConfig] = Field(default_factory=list[EndpointConfig])
    """Several servers or keys that answer for this model: each request goes to the least loaded one, and what fails at
    one is tried at another. Each has limits of its own."""

    def at_endpoint(self, endpoint: EndpointConfig) -> Self:
        """This model as it stands behind one of its endpoints."""
        there = {key: value for key, value in endpoint if key in endpoint.model_fields_set and value is not None}
        there.pop("weight", None)
        if "base_url" in there and "api_key" not in there and "base_url" not in self.model_fields_set:
            there["api_key"] = None
        return self.model_copy(update={**there, "endpoints": []})


class Model(Protocol):
    """One model behind one endpoint.

    `chat` sends exactly one request. It raises the `StepError` classes that say what came back; whatever else it raises
    is a bug. It holds no permit, keeps no time and counts nothing: that is the endpoint's business.
    """

    @property
    def name(self) -> str:
        """The provider's name of the model, as in prices and traces."""
        ...

    @property
    def provider(self) -> str:
        """The provider's name in traces: `openai`, `anthropic`, `gcp.gemini`, `mock`."""
        ...

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once."""
        ...


@dataclass(frozen=True, slots=True)
class ReplayedModel:
    """Stands for a model in a replay, where nobody asks it: it needs no key and no network."""

    name: str
    provider: str

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Never called: what is not in the recording is a miss."""
        raise InternalFault(f"{self.name} was asked in a replay")
