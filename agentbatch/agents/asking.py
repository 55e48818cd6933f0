"""What agents that ask a model share: the prompt, the requests, the check of the final answer and its repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from agentbatch.agents.base import AgentConfig
from agentbatch.agents.content import Content, PartConfig, content_bounds
from agentbatch.agents.history import earlier_turns
from agentbatch.answer_schema import AnswerSchema, checked_schema, repair_request
from agentbatch.assembly import Assembly
from agentbatch.endpoints.answering import Answering
from agentbatch.errors import BadResponse, SchemaFault
from agentbatch.hooks import ModelAnswer, ModelCall
from agentbatch.hooks.calling import NO_HOOKS, Hook, Hooks
from agentbatch.items import Output
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolSpec
from agentbatch.record import record
from agentbatch.settings import EarlierStep, ModelName, PositiveInt, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Template
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import listing


class AskingConfig(AgentConfig):
    """An agent that asks a model."""

    model: ModelName
    """A name under `models`."""
    instructions: TemplateText | None = None
    """The system message: a template, or `file://` and a path relative to the config."""
    prompt: TemplateText | None = None
    """The user message: a template, or `file://` and a path relative to the config. Required without `content`."""
    content: list[PartConfig] = Field(default_factory=list[PartConfig])
    """Images, PDFs and further texts of the user message, in this order, after the prompt."""
    content_root: str = "."
    """The folder that images and files come from, relative to the config. Nothing outside it is read."""
    max_file_mb: float = Field(default=10.0, gt=0)
    """The largest image or file, in MB of 1,000,000 bytes."""
    history: list[EarlierStep] = Field(default_factory=list[EarlierStep])
    """Agents whose conversations come before the prompt, without their system messages: to refine an answer over
    several turns, or to debate. In a loop an agent may name itself, and so goes on with its own conversation."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """On top of the model's own `params`."""
    output_schema: Annotated[dict[str, Any], AfterValidator(checked_schema)] | None = None
    """JSON Schema of the answer: asked of the provider, checked here, repaired once, and parsed."""
    rpm: PositiveInt | None = None
    """This agent's requests in any 60 s, retries included."""
    tpm: PositiveInt | None = None
    """This agent's tokens in any 60 s, prompt and answer."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.prompt is None and not self.content:
            raise ValueError("missing key 'prompt' (or `content`, with images and files)")
        return self


@record
class Offered:
    """What a request brings beside its messages: the tools, and whether the model may, must or can't call them."""

    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    parallel: bool | None = None


NO_TOOLS = Offered()


@record
class Asker:
    """Asks one model on behalf of one agent."""

    model: Answering
    limiter: Limiter
    prompt: Template | None = None
    instructions: Template | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: AnswerSchema | None = None
    history: tuple[str, ...] = ()
    hooks: Hooks = NO_HOOKS
    content: Content | None = None
    """Makes the user message, prompt and all, where there is more than a prompt."""

    async def opening(self, names: Mapping[str, Any], visit: Visit) -> tuple[Message, ...]:
        """The messages that a conversation begins with."""
        if self.content is not None:
            asked = await self.content.message(names, visit)
        else:
            asked = Message("user", "" if self.prompt is None else self.prompt.render(names))
        turns = (*earlier_turns(self.history, names), asked)
        if self.instructions is None:
            return turns
        return (Message("system", self.instructions.render(names)), *turns)

    async def ask(self, messages: tuple[Message, ...], visit: Visit, offered: Offered = NO_TOOLS) -> ChatResponse:
        """The model's next turn."""
        request = ChatRequest(
            messages,
            self.params,
            offered.tools,
            offered.choice,
            offered.parallel,
            output_schema=self.schema and self.schema.document,
            seed=visit.seed,
        )
        if self.hooks.before_model is not None:
            request = await self._as_hooked(self.hooks.before_model, request, visit)
        response = await self.model.ask(request, visit, self.limiter)
        if self.hooks.after_model is not None:
            return await self._as_let_pass(self.hooks.after_model, request, response, visit)
        return response

    async def _as_hooked(self, hook: Hook[ModelCall], request: ChatRequest, visit: Visit) -> ChatRequest:
        """The request as the hook leaves it: what is sent, and what the journal and the cache know it by."""
        call = ModelCall(visit.item, visit.path, self.model.name, request.messages, request.params)
        left = await hook.call(call, visit)
        return request if left is call else replace(request, messages=tuple(left.messages), params=left.params)

    async def _as_let_pass(
        self, hook: Hook[ModelAnswer], request: ChatRequest, response: ChatResponse, visit: Visit
    ) -> ChatResponse:
        """The answer as the hook leaves it. A changed one takes nothing along of what the provider wants back."""
        answer = ModelAnswer(
            visit.item, visit.path, self.model.name, request.messages, response.text, response.tool_calls
        )
        left = await hook.call(answer, visit)
        if left is answer:
            return response
        return replace(response, text=left.text, tool_calls=tuple(left.tool_calls), provider_data=None)

    async def conclude(
        self, messages: tuple[Message, ...], response: ChatResponse, visit: Visit, offered: Offered = NO_TOOLS
    ) -> Output:
        """The output that a final answer makes; one that does not fit the schema is asked for once more.

        Raises:
            BadResponse: there is nothing in the answer but calls of tools that nobody offered.
            SchemaFault: neither answer fits.
        """
        _note_length(response, visit)
        if response.tool_calls and not response.text:
            raise _calls_alone(response)
        if self.schema is None:
            return Output(response.text, (*messages, response.as_message()))
        try:
            return Output(self.schema.parse(response.text), (*messages, response.as_message()))
        except SchemaFault as misfit:
            messages = (*messages, response.as_message(), Message("user", repair_request(misfit)))
        response = await self.ask(messages, visit, offered)
        _note_length(response, visit)
        return Output(self.schema.parse(response.text), (*messages, response.as_message()))


def _calls_alone(response: ChatResponse) -> BadResponse:
    names = listing(dict.fromkeys(visible(call.name, 40) for call in response.tool_calls), 5)
    words = f"the answer is empty: it only calls {names}, and the agent was to answer in words (give it `tools`)"
    return BadResponse(words, retry=False, request_id=response.request_id)


def _note_length(response: ChatResponse, visit: Visit) -> None:
    """Whether `max_tokens` cut the answer; of an answer and its repair, the repair."""
    if response.finish_reason == "length":
        visit.extra["truncated"] = True
    else:
        visit.extra.pop("truncated", None)


def build_asker(config: AskingConfig, name: str, assembly: Assembly) -> Asker:
    """The asker that `config` describes."""
    instructions, where = config.instructions, f"agents.{name}"
    prompt = None if config.prompt is None else Template(config.prompt, where=f"{where}.prompt")
    bounds = content_bounds(assembly.folder, config.content_root, config.max_file_mb)
    return Asker(
        model=assembly.answering(config.model),
        limiter=assembly.limiter(
            f"agent {name}", max_concurrency=config.max_concurrency, rpm=config.rpm, tpm=config.tpm
        ),
        prompt=prompt,
        content=Content(prompt, config.content, where, bounds, assembly.threads) if config.content else None,
        instructions=None if instructions is None else Template(instructions, where=f"{where}.instructions"),
        params=config.params,
        schema=None if config.output_schema is None else AnswerSchema(config.output_schema),
        history=tuple(config.history),
        hooks=assembly.hooks,
    )
