"""The agent `a2a`: somebody else's agent that speaks Agent2Agent 1.0, which is sent a message, and may take its time.

Source: https://a2a-protocol.org/latest/specification/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agentbatch.agents.http import on_same_server
from agentbatch.agents.remote import RemoteConfig, build_remote
from agentbatch.assembly import Assembly
from agentbatch.calls.a2a_protocol import VERSION, Answer, call, card_url, endpoint_of, message, read_answer
from agentbatch.calls.http_call import HttpRequest, check_url
from agentbatch.calls.output_form import read_output
from agentbatch.endpoints.remote import Remote
from agentbatch.errors import BadResponse
from agentbatch.items import Output, Scope
from agentbatch.kept.journal import Journal
from agentbatch.kept.paid_work import PaidWork
from agentbatch.kept.tape import Tape
from agentbatch.settings import Duration, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Template
from agentbatch.transports.base import HttpTransport


class A2aConfig(RemoteConfig):
    """A remote agent that speaks Agent2Agent 1.0 by JSON-RPC. Its task is waited for, its artifacts are the output."""

    kind: Literal["a2a"]
    url: Annotated[str, AfterValidator(check_url)]
    """Where the agent is. Its card is below, at `/.well-known/agent-card.json`, or is this URL itself if it ends in
    `.json`."""
    endpoint: Annotated[str, AfterValidator(check_url)] | None = None
    """Where messages are sent. Default: what its card says, which must be on the same server."""
    headers: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    """Sent with every request to it."""
    prompt: TemplateText
    """The message: a template, or `file://` and a path relative to the config."""
    output: str = "text"
    """What of its text is taken: `text`, `json`, `jsonl`, or a dotted path into the JSON. Data is text as JSON."""
    every: Duration = 2.0
    """How long to wait between two looks at its task."""


class A2aServer:
    """Where an agent is, and how it is asked; shared by all items."""

    def __init__(self, config: A2aConfig, remote: Remote, transport: HttpTransport) -> None:
        own = {name.lower(): value for name, value in config.headers.items()}
        self._headers: Mapping[str, str] = {"content-type": "application/json", "a2a-version": VERSION, **own}
        self._card = card_url(config.url)
        self._endpoint = config.endpoint
        self._remote = remote
        self._transport = transport
        self._reading = asyncio.Lock()

    async def endpoint(self, visit: Visit) -> str:
        """Where messages are sent; the first who asks reads the card.

        Raises:
            StepError: there is no card, or the agent is of another kind; the next who asks tries again.
        """
        async with self._reading:
            if self._endpoint is None:
                request = HttpRequest("GET", self._card, self._headers)
                card = await self._remote.follow(lambda: request.send(self._transport), visit)
                self._endpoint = on_same_server(self._card, endpoint_of(card.body))
        return self._endpoint

    async def ask(self, endpoint: str, body: bytes, visit: Visit) -> Answer:
        """One request.

        Raises:
            StepError: as of `HttpRequest.send` and `read_answer`.
        """
        headers = {**self._headers, "traceparent": visit.span.traceparent}
        response = await HttpRequest("POST", endpoint, headers, body).send(self._transport)
        return read_answer(response.body)


class A2aAgent:
    """Sends one message for each item, and waits for the task that it may begin."""

    kind = "a2a"

    def __init__(self, config: A2aConfig, name: str, assembly: Assembly) -> None:
        self._remote = build_remote(config, name, assembly)
        self._server = A2aServer(config, self._remote, assembly.transport("direct"))
        self._prompt = Template(config.prompt, where=f"agents.{name}.prompt")
        self._output = config.output
        self._every = config.every
        self._url = config.url
        self._journal: Journal | None = assembly.journal
        self._tape: Tape | None = assembly.tape

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """What the agent made of the message.

        Raises:
            TemplateFault: the message can't be filled in.
            StepError: the agent could not be reached, declined, failed, or answered something else.
        """
        prompt = self._prompt.render(scope.names)
        asked = [self._url, prompt]
        work = PaidWork(self._journal, visit, asked, self._tape)
        known = work.recalled()
        kept: dict[str, Any] = {} if known is None else known[0]

        async def text() -> str:
            begun = kept or await work.done(lambda: self._begun(prompt, visit))
            return begun["text"] if begun["text"] is not None else await self._task(begun["task"], visit)

        return self._conclude(kept["text"] if kept.get("text") is not None else await self._remote.ask(text, visit))

    async def _begun(self, prompt: str, visit: Visit) -> dict[str, Any]:
        """What came at once: a text, or the id of a task."""
        endpoint = await self._server.endpoint(visit)
        body = call("SendMessage", message(prompt, [visit.span.trace_id, visit.path, visit.seed]))
        answer = await self._remote.once(lambda: self._server.ask(endpoint, body, visit))
        return {"text": answer.text, "task": answer.task}

    async def _task(self, task: str, visit: Visit) -> str:
        """The text that a task ends with. A crash while it is waited for does not begin it anew."""
        visit.span.attributes["job"] = task
        work = PaidWork(self._journal, visit, ["task", task], self._tape)
        known = work.recalled()
        return known[0] if known is not None else await work.done(lambda: self._followed(task, visit))

    async def _followed(self, task: str, visit: Visit) -> str:
        """Look until it has ended."""
        endpoint = await self._server.endpoint(visit)
        body = call("GetTask", {"id": task})
        while True:
            await self._remote.control.sleep(self._every)
            answer = await self._remote.follow(lambda: self._server.ask(endpoint, body, visit), visit)
            if answer.text is not None:
                return answer.text

    def _conclude(self, text: str) -> Output:
        try:
            return Output(read_output(self._output, text))
        except ValueError as error:
            raise BadResponse(f"the answer of {self._url}: {error}") from None


def build(config: A2aConfig, name: str, assembly: Assembly) -> A2aAgent:
    """The agent that `config` describes."""
    return A2aAgent(config, name, assembly)
