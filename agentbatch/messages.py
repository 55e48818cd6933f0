"""The words every model speaks, whatever its provider's dialect: plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from agentbatch.record import record

Role = Literal["system", "user", "assistant", "tool"]


@record
class Usage:
    """Tokens and requests of one call, or the sum over many.

    `input_tokens` counts all prompt tokens, cached ones included; `output_tokens` counts all generated tokens,
    reasoning included. The other token fields say how many of them were of that kind.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@record
class ToolCall:
    """A model's wish to call a tool. `arguments` is the JSON text as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str


@record
class ToolSpec:
    """What a model is told about a tool. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@record
class Message:
    """One turn of a conversation.

    `tool_calls` belong to an assistant turn, `tool_call_id` to a tool turn. `provider_data` is what the provider
    wants back unchanged in the next request (thinking blocks, signatures); only its own adapter reads it.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    provider_data: Any = None


@record
class ChatRequest:
    """One request to a model. `params` are sent as they are, under the provider's own names."""

    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    output_schema: Mapping[str, Any] | None = None
    seed: str = ""
    """Tells apart requests that are alike on purpose (copies of one agent); never sent, read by the mock provider."""
    traceparent: str | None = None
    """W3C Trace Context header value of the attempt, set by whoever opens the attempt's span."""

    def with_params(self, params: Mapping[str, Any]) -> ChatRequest:
        """The same request with other params."""
        return ChatRequest(
            self.messages,
            params,
            self.tools,
            self.tool_choice,
            self.parallel_tool_calls,
            self.output_schema,
            self.seed,
            self.traceparent,
        )

    def traced(self, traceparent: str) -> ChatRequest:
        """The same request as one attempt of it sends it."""
        return ChatRequest(
            self.messages,
            self.params,
            self.tools,
            self.tool_choice,
            self.parallel_tool_calls,
            self.output_schema,
            self.seed,
            traceparent,
        )


@record
class ChatResponse:
    """One whole answer.

    `finish_reason` is one of `stop`, `tool_calls`, `length`; answers cut by a filter are raised as `ContentFilter`.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage(requests=1)
    model: str = ""
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The answer's HTTP headers, names in lower case; empty where there was no HTTP."""
    provider_data: Any = None
    first_token_s: float | None = None
    """Seconds from sending to the first token, of an answer that was streamed."""

    def as_message(self) -> Message:
        """The assistant turn that a following request carries."""
        return Message("assistant", self.text, tool_calls=self.tool_calls, provider_data=self.provider_data)
