"""What a mock says: one request in, one answer out, decided by nothing but the request and the knobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, Field, model_validator

from agentbatch.errors import BadRequest, TemplateFault
from agentbatch.messages import Attachment, ChatRequest, ChatResponse, Message, ToolCall, Usage
from agentbatch.models.mock_draws import number
from agentbatch.models.mock_faults import FaultRates, Rate
from agentbatch.models.mock_instance import instance
from agentbatch.models.mock_latency import Latency
from agentbatch.models.mock_reply import ReplyTemplate
from agentbatch.record import record
from agentbatch.settings import Settings

_QUOTED = 60
"""Characters of the prompt that the default reply repeats."""


def _checked(value: Any) -> Any:
    """The value, if all the templates in it compile."""
    _Value(value, "")
    return value


TemplateText = Annotated[str, AfterValidator(_checked)]
TemplateValue = Annotated[Any, AfterValidator(_checked)]


class ScriptedCall(Settings):
    """A tool call that the mock makes where a request brings tools."""

    name: str
    """The tool."""
    arguments: Annotated[str | dict[str, Any], AfterValidator(_checked)] = Field(default_factory=dict[str, Any])
    """A mapping whose texts are templates, or one template of the whole JSON text (which may be wrong on purpose)."""
    force: bool = False
    """Make the call even where the request does not offer a tool of that name."""


class MockKnobs(Settings):
    """How a mock behaves, inside the process and as a server."""

    latency: Latency = 0.0
    """How long an answer takes: `200ms`, or `{p50:, p95:}`, `{min:, max:}`, `{mean:, sigma:}`."""
    reply: TemplateText | None = None
    """A template of the answer over `prompt` (the last user text), `system`, `messages`, `files` (`kind`, `name`,
    `type`, `size` and `url` of each), `model`, `n` (a number made from the content) and the filter `pick`:
    `{{ ['low', 'high'] | pick }}`. Default: the beginning of the prompt."""
    replies: list[TemplateText] | None = Field(default=None, min_length=1)
    """Several of them; the content chooses one."""
    output: TemplateValue = None
    """The answer where the request has a schema: a value whose texts are templates, or one template of the whole JSON
    text. Default: a value that fits the schema."""
    tool_calls: list[ScriptedCall] = Field(default_factory=list[ScriptedCall])
    """Calls to make where the request brings tools."""
    tool_rounds: int = Field(default=1, ge=0)
    """How many times in a row the mock calls tools before it answers in words."""
    input_tokens: int | None = Field(default=None, ge=0)
    """Default: the bytes of the request's texts divided by 4."""
    output_tokens: int | None = Field(default=None, ge=0)
    """Default: the bytes of the answer divided by 4."""
    errors: FaultRates = FaultRates()
    """The share of requests that fail, by kind: `{rate_limited: 0.05, server: 0.02}`."""
    hang: Rate = 0.0
    """The share of requests that never get an answer: the attempt's `timeout` ends them."""
    disconnect: Rate = 0.0
    """The share of answers whose connection is closed; a server does half of them before the answer, half within it."""
    truncate: Rate = 0.0
    """The share of answers that end in the middle, on a connection that stays well."""
    seed: int = 0
    """Another seed gives other answers, times and failures."""

    @model_validator(mode="after")
    def _one_reply(self) -> Self:
        if self.reply is not None and self.replies is not None:
            raise ValueError("`reply` and `replies` exclude each other: give one of them")
        return self


@record
class Question:
    """A request as the mock understands it. `key` is the digest of its content and of every seed."""

    request: ChatRequest
    model: str
    prompt: str
    key: bytes
    size: int
    """Bytes of all its texts."""


class Answers:
    """Gives the answer to each request. Keeps no state: the same request has the same answer.

    Raises:
        ValueError: a template of the knobs is not valid.
    """

    def __init__(self, knobs: MockKnobs) -> None:
        self._knobs = knobs
        self._seed = f"{knobs.seed}\0".encode()
        self._replies = _templates(knobs)
        self._output = None if knobs.output is None else _Value(knobs.output, "output")
        self._calls = [(call, _Value(call.arguments, f"tool_calls: {call.name}")) for call in knobs.tool_calls]

    def read(self, request: ChatRequest, model: str) -> Question:
        """What is asked, and the key that everything else is drawn from."""
        prompt, texts, size = "", list[str](), 0
        for message in request.messages:
            texts.append(message.role)
            texts.append(message.content)
            size += len(message.content) if message.content.isascii() else len(_bytes(message.content))
            texts.extend(call.arguments for call in message.tool_calls)
            texts.extend(part if isinstance(part, str) else part.digest for part in message.parts)
            if message.role == "user":
                prompt = message.content
        seeds = f"{model}\0{request.seed}\0{request.params.get('seed', '')}\0"
        content = self._seed + _bytes(seeds + "\0".join(texts))
        return Question(request, model, prompt, blake2b(content, digest_size=16).digest(), size)

    def answer(self, question: Question) -> ChatResponse:
        """The whole answer.

        Raises:
            BadRequest: nothing can fit the request's schema.
            TemplateFault: a template of the knobs can't be rendered for this request.
        """
        calls = self._tool_calls(question) if question.request.tools else ()
        text = "" if calls else self._text(question)
        return ChatResponse(
            text,
            calls,
            "tool_calls" if calls else "stop",
            self._usage(question, text, calls),
            question.model,
            "mock-" + question.key.hex(),
        )

    def _text(self, question: Question) -> str:
        schema = question.request.output_schema
        if schema is not None:
            return self._structured(question, schema)
        if not self._replies:
            return f"A mock answer to: {question.prompt[:_QUOTED]}"
        chosen = self._replies[0]
        if len(self._replies) > 1:
            chosen = self._replies[number(question.key, b"reply") % len(self._replies)]
        return self._rendered(chosen, question)

    def _structured(self, question: Question, schema: Mapping[str, Any]) -> str:
        if self._output is not None:
            return self._rendered(self._output, question)
        return _fitting(schema, question.key)

    def _tool_calls(self, question: Question) -> tuple[ToolCall, ...]:
        request = question.request
        calls = self._wanted_calls(question)
        if request.parallel_tool_calls is False:
            calls = calls[:1]
        prefix = f"call_{question.key.hex()[:20]}"
        return tuple(ToolCall(f"{prefix}{place:02}", name, text) for place, (name, text) in enumerate(calls))

    def _wanted_calls(self, question: Question) -> list[tuple[str, str]]:
        """The names and arguments of the calls to make: the scripted ones, or the one that `tool_choice` demands."""
        request = question.request
        choice = request.tool_choice or "auto"
        offered = {tool.name: tool for tool in request.tools}
        if choice == "none" or (choice not in offered and _rounds(request.messages) >= self._knobs.tool_rounds):
            return []
        scripted = [(call, value) for call, value in self._calls if call.force or call.name in offered]
        if choice in offered:
            scripted = [(call, value) for call, value in scripted if call.name == choice]
        if not scripted and choice != "auto":
            tool = offered.get(choice, request.tools[0])
            return [(tool.name, _fitting(tool.parameters, question.key))]
        return [(call.name, self._rendered(value, question)) for call, value in scripted]

    def _usage(self, question: Question, text: str, calls: tuple[ToolCall, ...]) -> Usage:
        given, made = self._knobs.input_tokens, self._knobs.output_tokens
        if given is None:
            given = (question.size + 3) // 4
        if made is None:
            size = len(_bytes(text)) + sum(len(_bytes(call.name + call.arguments)) for call in calls)
            made = (size + 3) // 4
        return Usage(given, made, 1)

    def _rendered(self, template: ReplyTemplate | _Value, question: Question) -> str:
        if template.constant is not None:
            return template.constant
        try:
            return template.render(question.key, self._names(question))
        except ValueError as error:
            raise TemplateFault(f"the mock can't answer: {error}") from error

    def _names(self, question: Question) -> dict[str, Any]:
        messages = question.request.messages
        return {
            "prompt": question.prompt,
            "system": "\n".join(message.content for message in messages if message.role == "system"),
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "files": [_file(part) for each in messages for part in each.parts if not isinstance(part, str)],
            "model": question.model,
        }


def _file(part: Attachment) -> dict[str, Any]:
    return {"kind": part.kind, "name": part.name, "type": part.media_type, "size": part.size, "url": part.url}


class _Value:
    """JSON text from a template of it, or from a value whose texts are templates. `constant`: it is always the same."""

    def __init__(self, value: Any, where: str) -> None:
        self._where = where
        self._changes = False
        self._whole = ReplyTemplate(value, where=where) if isinstance(value, str) else None
        self._parts = None if self._whole else self._compiled(value)
        self.constant = self._whole.constant if self._whole else None if self._changes else self.render(b"", {})

    def render(self, key: bytes, names: Mapping[str, Any]) -> str:
        if self._whole is not None:
            return self._whole.render(key, names)
        return json.dumps(self._filled(self._parts, key, names), ensure_ascii=False)

    def _compiled(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._compiled(part) for name, part in cast(Mapping[str, Any], value).items()}
        if isinstance(value, list):
            return [self._compiled(part) for part in cast(Sequence[Any], value)]
        if not isinstance(value, str):
            return value
        template = ReplyTemplate(value, where=self._where)
        self._changes = self._changes or template.constant is None
        return template

    def _filled(self, part: Any, key: bytes, names: Mapping[str, Any]) -> Any:
        if isinstance(part, Mapping):
            return {name: self._filled(below, key, names) for name, below in cast(Mapping[str, Any], part).items()}
        if isinstance(part, list):
            return [self._filled(below, key, names) for below in cast(Sequence[Any], part)]
        return part.render(key, names) if isinstance(part, ReplyTemplate) else part


def _templates(knobs: MockKnobs) -> list[ReplyTemplate]:
    if knobs.reply is not None:
        return [ReplyTemplate(knobs.reply, where="reply")]
    return [ReplyTemplate(text, where=f"replies[{place}]") for place, text in enumerate(knobs.replies or ())]


def _fitting(schema: Mapping[str, Any], key: bytes) -> str:
    try:
        return json.dumps(instance(schema, key), ensure_ascii=False)
    except ValueError as error:
        raise BadRequest(f"the mock can't make a value for this schema: {error}", http_status=400) from error


def _rounds(messages: tuple[Message, ...]) -> int:
    """How often the model has called tools since the user last spoke."""
    rounds = 0
    for message in reversed(messages):
        if message.role == "user":
            break
        rounds += bool(message.tool_calls)
    return rounds


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
