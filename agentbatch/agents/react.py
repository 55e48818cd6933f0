"""The agent with tools: the model calls them, turn after turn, until it answers in words."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from agentbatch.agents.asking import Asker, AskingConfig, Offered, build_asker
from agentbatch.assembly import Assembly
from agentbatch.errors import MaxTurns, ToolFault
from agentbatch.items import Output, Scope
from agentbatch.messages import ChatResponse, Message, ToolCall
from agentbatch.record import record
from agentbatch.settings import PositiveInt, ToolName
from agentbatch.step import Visit
from agentbatch.text.suggestions import listing
from agentbatch.tools.offer import refused, unknown_tool
from agentbatch.tools.toolbox import Offers, Toolbox

MOST_CALLS_A_TURN = 128
"""Calls beyond this in one turn are not made."""


class ReactConfig(AskingConfig):
    """A model that may call tools before it answers. The kind of every agent that has `tools` and names no other."""

    kind: Literal["react"] = "react"
    tools: Annotated[list[ToolName], Field(min_length=1)]
    """Names of `tools`, `toolsets` and `mcp_servers`; and of agents and groups, which are then called by this one."""
    max_turns: PositiveInt = 10
    """Requests to the model for one answer; the repair of an answer that does not fit `output_schema` is one more."""
    max_tool_calls: PositiveInt | None = None
    """Tool calls for one answer; further ones are not made."""
    on_max_turns: Literal["answer", "error"] = "answer"
    """When turns or calls run out: the model is asked for its answer without tools, or the agent fails."""
    tool_choice: str | None = None
    """Of the first turn: `auto`, `none`, `required`, or the name of the tool to call. Default: `auto`."""
    parallel_tool_calls: bool | None = None
    """Whether several calls of one turn run at once. `false` runs them one after the other, and asks the provider for
    one at a time. Default: at once, and the provider is not told."""


@record
class Bounds:
    """How long an agent may go on. `answers`: it is asked for an answer at the end, rather than failing."""

    max_turns: int = 10
    max_calls: int | None = None
    answers: bool = True


@record
class ReactAgent:
    """Asks, has tools called, hands back their results in the order of the calls, and asks again."""

    asker: Asker
    toolbox: Toolbox
    bounds: Bounds = Bounds()
    tool_choice: str | None = None
    parallel: bool | None = None
    kind: str = "react"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Turn after turn until there is an answer.

        Raises:
            MaxTurns: turns or calls ran out.
            SchemaFault: the answer does not fit, and its repair neither.
        """
        offers = await self.toolbox.open()
        self._check_choice(offers)
        messages = await self.asker.opening(scope.names, visit)
        turn = calls = 0
        while True:
            turn += 1
            at_end = turn >= self.bounds.max_turns or self._calls_left(calls) <= 0
            forced = at_end and self.bounds.answers
            response = await self.asker.ask(messages, visit, self._offered(offers, turn, closed=forced))
            _note(visit, turn, calls, forced=forced)
            if not response.tool_calls or (forced and response.text):
                last = Offered(offers.specs, "none", self.parallel)
                return await self.asker.conclude(messages, _in_words(response), visit, last)
            if at_end:
                raise self._ran_out(turn)
            results = await self._results(response.tool_calls, calls, offers, scope, visit)
            calls += len(results)
            messages = (*messages, response.as_message(), *results)

    def _check_choice(self, offers: Offers) -> None:
        if self.tool_choice not in (None, "auto", "none", "required", *offers.by_name):
            raise ToolFault(f"tool_choice: there is no tool {self.tool_choice!r} among {listing(offers.by_name, 30)}")

    def _offered(self, offers: Offers, turn: int, *, closed: bool) -> Offered:
        """A forced choice is for the first turn: in every turn it would never come to an answer."""
        choice = "none" if closed else self.tool_choice if turn == 1 else None
        return Offered(offers.specs, choice, self.parallel)

    def _calls_left(self, calls: int) -> int:
        return MOST_CALLS_A_TURN if self.bounds.max_calls is None else self.bounds.max_calls - calls

    def _ran_out(self, turn: int) -> MaxTurns:
        if turn < self.bounds.max_turns:
            return MaxTurns(f"no answer within max_tool_calls ({self.bounds.max_calls}): raise it, or set on_max_turns")
        return MaxTurns(f"no answer within max_turns ({self.bounds.max_turns}): the model still called tools")

    async def _results(
        self, calls: tuple[ToolCall, ...], before: int, offers: Offers, scope: Scope, visit: Visit
    ) -> list[Message]:
        """The results of one turn's calls, in their order, however long each takes."""
        most = min(MOST_CALLS_A_TURN, self._calls_left(before))

        async def answer(place: int) -> str:
            if place >= most:
                return refused(calls[place], ToolFault("not called: the limit of tool calls is reached"), visit)
            return await _answer(calls[place], offers, scope, visit)

        if self.parallel is False:
            texts = [await answer(place) for place in range(len(calls))]
        else:
            texts = await _at_once([answer(place) for place in range(len(calls))])
        return [Message("tool", text, tool_call_id=call.id) for call, text in zip(calls, texts, strict=True)]


async def _answer(call: ToolCall, offers: Offers, scope: Scope, visit: Visit) -> str:
    offer = offers.by_name.get(call.name)
    if offer is None:
        return unknown_tool(call, list(offers.by_name), visit)
    return await offer.answer(call, scope, visit)


async def _at_once(work: Sequence[Coroutine[Any, Any, str]]) -> list[str]:
    """Run all; their texts in the given order. What ends one (the run stops, a bug) ends all."""
    if len(work) == 1:
        return [await work[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return [task.result() for task in tasks]


def _in_words(response: ChatResponse) -> ChatResponse:
    """The answer without calls that nobody will make: a turn with calls may not stand without their results."""
    if not response.tool_calls:
        return response
    return ChatResponse(response.text, usage=response.usage, model=response.model, request_id=response.request_id)


def _note(visit: Visit, turn: int, calls: int, *, forced: bool) -> None:
    visit.extra["turns"] = turn
    if calls:
        visit.extra["tool_calls"] = calls
    if forced:
        visit.extra["forced_answer"] = True


def build(config: ReactConfig, name: str, assembly: Assembly) -> ReactAgent:
    """The agent that `config` describes."""
    return ReactAgent(
        asker=build_asker(config, name, assembly),
        toolbox=assembly.toolbox(config.tools),
        bounds=Bounds(config.max_turns, config.max_tool_calls, config.on_max_turns == "answer"),
        tool_choice=config.tool_choice,
        parallel=config.parallel_tool_calls,
    )
