"""The words every model speaks, whatever its provider's dialect: plain frozen data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

from agentbatch.record import NEW_DICT, record

Role = Literal["system", "user", "assistant", "tool"]


@record
class Usage:
    """Tokens and requests of one call, or the sum over many.

    `input_tokens` counts all prompt tokens, cached ones included; `output_tokens` counts all generated tokens,
    reasoning included. The other token fields say how many of them were of that kind; `cache_write_1h_tokens` are among
    the `cache_write_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
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
class Attachment:
    """An image or a file that goes along with a prompt. Its bytes are read when a request is sent, and not kept.

    `digest` tells it from others: of its bytes, or its URL, which is passed on as it is. `size` is in bytes, 0 of what
    has a URL. `name` is the file's own, without folders.
    """

    kind: Literal["image", "file"]
    media_type: str
    digest: str
    size: int
    name: str
    url: str | None = None
    _read: Callable[[str], bytes] | None = field(default=None, compare=False, repr=False)

    def read(self) -> bytes:
        """The bytes; none of what has a URL. Blocks.

        Raises:
            InputFault: the file has gone, or is another by now.
        """
        return b"" if self._read is None else self._read(self.digest)


@record
class Message:
    """One turn of a conversation.

    `tool_calls` belong to an assistant turn, `tool_call_id` to a tool turn. `provider_data` is what the provider
    wants back unchanged in the next request (thinking blocks, signatures); only its own adapter reads it. `parts` are
    those of a user turn that brings images or files along, in their order: `content` is then the texts among them.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    provider_data: Any = None
    parts: tuple[str | Attachment, ...] = ()


@record
class ChatRequest:
    """One request to a model. `params` are sent as they are, under the provider's own names."""

    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=NEW_DICT)
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
    headers: Mapping[str, str] = field(default_factory=NEW_DICT)
    """The answer's HTTP headers, names in lower case; empty where there was no HTTP."""
    provider_data: Any = None
    first_token_s: float | None = None
    """Seconds from sending to the first token, of an answer that was streamed."""
    batched: bool = False
    """It came by a provider's batch, and costs what those cost."""

    def as_message(self) -> Message:
        """The assistant turn that a following request carries."""
        return Message("assistant", self.text, tool_calls=self.tool_calls, provider_data=self.provider_data)
