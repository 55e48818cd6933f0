"""The agent that has no prompt: it sends a request that somebody else wrote, as it is.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from agentbatch.agents.base import AgentConfig
from agentbatch.assembly import Assembly
from agentbatch.endpoints.answering import Answering
from agentbatch.errors import ConfigError, InputFault
from agentbatch.items import Output, Scope
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, Role
from agentbatch.settings import ModelName, PositiveInt, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Value

_OURS = frozenset({"model", "stream", "stream_options"})
"""The model's own settings say these, whatever the request does."""

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}
_SPEAKERS = ("openai", "mock")


class RequestConfig(AgentConfig):
    """Sends a body of OpenAI's chat completions as it is; the output is the whole answer."""

    kind: Literal["request"]
    model: ModelName
    """A name under `models`, of provider `openai` or `mock`."""
    body: TemplateText = "{{ input.body }}"
    """What gives the request's body: messages, and whatever else the API takes."""
    rpm: PositiveInt | None = None
    """This agent's requests in any 60 s, retries included."""
    tpm: PositiveInt | None = None
    """This agent's tokens in any 60 s, prompt and answer."""


@dataclass(frozen=True, slots=True)
class RequestAgent:
    """Sends one request as it is."""

    model: Answering
    limiter: Limiter
    body: Value
    kind: str = "request"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """The answer's body.

        Raises:
            InputFault: there is no request to send.
        """
        body = self.body.of(scope.names)
        fields = _mapping(body)
        if not _list(fields.get("messages")):
            raise InputFault(f"the request has no messages: {str(body)[:80]}")
        messages = tuple(_message(each) for each in _list(fields["messages"]))
        params = {name: value for name, value in fields.items() if name not in _OURS}
        response = await self.model.ask(ChatRequest(messages, params, seed=visit.seed), visit, self.limiter)
        if response.finish_reason == "length":
            visit.extra["truncated"] = True
        return Output(whole_answer(response), (*messages, response.as_message()))


def whole_answer(response: ChatResponse) -> dict[str, Any]:
    """The answer as the API gave it, or what it would have been there."""
    body = _mapping(response.provider_data).get("body")
    if body is not None:
        return body
    usage = response.usage
    return {
        "id": response.request_id or "",
        "object": "chat.completion",
        "model": response.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": response.text},
                "finish_reason": response.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def build(config: RequestConfig, name: str, assembly: Assembly) -> RequestAgent:
    """The agent that `config` describes.

    Raises:
        ConfigError: its model speaks another dialect.
    """
    model = assembly.answering(config.model)
    if model.provider not in _SPEAKERS:
        raise ConfigError(
            f"agents.{name}.model: {config.model!r} speaks the dialect of {model.provider}, and would not understand a"
            " request for OpenAI's chat completions: name a model of provider openai, or write an agent with a prompt"
        )
    limiter = assembly.limiter(f"agent {name}", max_concurrency=config.max_concurrency, rpm=config.rpm, tpm=config.tpm)
    return RequestAgent(model, limiter, Value(config.body, where=f"agents.{name}.body"))


def _message(value: Any) -> Message:
    """What is said, for estimates and traces: what is sent is the message itself."""
    fields = _mapping(value)
    content = fields.get("content")
    text = content if isinstance(content, str) else "".join(_text(part) for part in _list(content))
    return Message(_ROLES.get(str(fields.get("role")), "user"), text)


def _text(part: Any) -> str:
    return str(_mapping(part).get("text") or "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    """The value if it is a list; plain inputs have lists, templates may make tuples of them."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
