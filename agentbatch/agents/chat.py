"""The default agent: render the prompt, ask the model, check the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from agentbatch.agents.base import AgentConfig
from agentbatch.answer_schema import AnswerSchema, repair_request
from agentbatch.assembly import Assembly
from agentbatch.endpoint import Endpoint
from agentbatch.errors import SchemaFault
from agentbatch.items import Output, Scope
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message
from agentbatch.settings import ModelName, PositiveInt, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Template


class ChatConfig(AgentConfig):
    """One prompt, one answer."""

    kind: Literal["chat"] = "chat"
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
class ChatAgent:
    """One prompt, one answer; with a schema, a checked and parsed one."""

    endpoint: Endpoint
    limiter: Limiter
    prompt: Template
    instructions: Template | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: AnswerSchema | None = None
    kind: str = "chat"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Ask once, and once more when the answer does not fit the schema.

        Raises:
            SchemaFault: neither answer fits.
        """
        messages = self._opening(scope.names)
        response = await self._ask(messages, visit)
        if self.schema is None:
            return Output(response.text, (*messages, response.as_message()))
        try:
            return Output(self.schema.parse(response.text), (*messages, response.as_message()))
        except SchemaFault as misfit:
            messages = (*messages, response.as_message(), Message("user", repair_request(misfit)))
        response = await self._ask(messages, visit)
        return Output(self.schema.parse(response.text), (*messages, response.as_message()))

    def _opening(self, names: Mapping[str, Any]) -> tuple[Message, ...]:
        prompt = Message("user", self.prompt.render(names))
        if self.instructions is None:
            return (prompt,)
        return (Message("system", self.instructions.render(names)), prompt)

    async def _ask(self, messages: tuple[Message, ...], visit: Visit) -> ChatResponse:
        request = ChatRequest(
            messages, self.params, output_schema=self.schema and self.schema.document, seed=visit.seed
        )
        response = await self.endpoint.ask(request, visit, self.limiter)
        if response.finish_reason == "length":
            visit.extra["truncated"] = True
        return response


def build(config: ChatConfig, name: str, assembly: Assembly) -> ChatAgent:
    """The agent that `config` describes."""
    endpoint = assembly.endpoint(config.model)
    return ChatAgent(
        endpoint=endpoint,
        limiter=assembly.limiter(
            f"agent {name}", max_concurrency=config.max_concurrency, rpm=config.rpm, tpm=config.tpm
        ),
        prompt=Template(config.prompt, where=f"agents.{name}.prompt"),
        instructions=None
        if config.instructions is None
        else Template(config.instructions, where=f"agents.{name}.instructions"),
        params={**endpoint.params, **config.params},
        schema=None if config.output_schema is None else AnswerSchema(config.output_schema),
    )
