"""What agents that ask a model share: the prompt, the requests, the check of the final answer and its repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from agentbatch.agents.base import AgentConfig
from agentbatch.answer_schema import AnswerSchema, repair_request
from agentbatch.assembly import Assembly
from agentbatch.endpoint import Endpoint
from agentbatch.errors import SchemaFault
from agentbatch.items import Output
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolSpec
from agentbatch.settings import ModelName, PositiveInt, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Template


class AskingConfig(AgentConfig):
    """An agent that asks a model."""

    model: ModelName
    """A name under `models`."""
    instructions: TemplateText | None = None
    """The system message: a template, or `file://` and a path relative to the config."""
    prompt: TemplateText
    """The user message: a template, or `file://` and a path relative to the config."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """On top of the model's own `params`."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the answer: asked of the provider, checked here, repaired once, and parsed."""
    rpm: PositiveInt | None = None
    """This agent's requests in any 60 s, retries included."""
    tpm: PositiveInt | None = None
    """This agent's tokens in any 60 s, prompt and answer."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What a request brings beside its messages: the tools, and whether the model may, must or can't call them."""

    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    parallel: bool | None = None


NO_TOOLS = Offered()


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one model on behalf of one agent."""

    endpoint: Endpoint
    limiter: Limiter
    prompt: Template
    instructions: Template | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: AnswerSchema | None = None

    def opening(self, names: Mapping[str, Any]) -> tuple[Message, ...]:
        """The messages that a conversation begins with."""
        prompt = Message("user", self.prompt.render(names))
        if self.instructions is None:
            return (prompt,)
        return (Message("system", self.instructions.render(names)), prompt)

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
        return await self.endpoint.ask(request, visit, self.limiter)

    async def conclude(
        self, messages: tuple[Message, ...], response: ChatResponse, visit: Visit, offered: Offered = NO_TOOLS
    ) -> Output:
        """The output that a final answer makes; one that does not fit the schema is asked for once more.

        Raises:
            SchemaFault: neither answer fits.
        """
        if self.schema is None:
            return self._output(response.text, messages, response, visit)
        try:
            return self._output(self.schema.parse(response.text), messages, response, visit)
        except SchemaFault as misfit:
            messages = (*messages, response.as_message(), Message("user", repair_request(misfit)))
        response = await self.ask(messages, visit, offered)
        return self._output(self.schema.parse(response.text), messages, response, visit)

    def _output(self, value: Any, messages: tuple[Message, ...], response: ChatResponse, visit: Visit) -> Output:
        if response.finish_reason == "length":
            visit.extra["truncated"] = True
        return Output(value, (*messages, response.as_message()))


def build_asker(config: AskingConfig, name: str, assembly: Assembly) -> Asker:
    """The asker that `config` describes."""
    endpoint = assembly.endpoint(config.model)
    instructions = config.instructions
    return Asker(
        endpoint=endpoint,
        limiter=assembly.limiter(
            f"agent {name}", max_concurrency=config.max_concurrency, rpm=config.rpm, tpm=config.tpm
        ),
        prompt=Template(config.prompt, where=f"agents.{name}.prompt"),
        instructions=None if instructions is None else Template(instructions, where=f"agents.{name}.instructions"),
        params={**endpoint.params, **config.params},
        schema=None if config.output_schema is None else AnswerSchema(config.output_schema),
    )
