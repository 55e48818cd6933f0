"""The agent `function`: a Python function of the user's does the work.

What it is called with is told by its signature: a parameter named `input` is given the item's input, `item` its id and
index, and one named like an agent or a group that step's output. Everything else stands under `arguments`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from agentbatch.agents.base import AgentConfig
from agentbatch.assembly import Assembly
from agentbatch.errors import ConfigError
from agentbatch.files.plain_json import to_plain
from agentbatch.items import Output, Scope
from agentbatch.kept.journal import Journal
from agentbatch.kept.paid_work import PaidWork
from agentbatch.record import record
from agentbatch.settings import TemplateValue
from agentbatch.step import Visit
from agentbatch.templates.tree import TemplateTree
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.signature import named_parameters, takes_any_name
from agentbatch.transports.function import FunctionCaller, load_function


class FunctionConfig(AgentConfig):
    """A Python function as an agent: a step that needs no model, such as cleaning or scoring."""

    kind: Literal["function"]
    function: str
    """`module:name`. The module is installed, or stands beside the config. Its parameters `input`, `item`, and those
    named like an agent or a group are given the input, `{id, index}`, and that step's output."""
    arguments: dict[str, TemplateValue] = Field(default_factory=dict[str, Any])
    """What its other parameters are given: `{limit: 5, text: "{{ input.body }}"}`."""
    executor: Literal["thread", "process", "ray"] = "thread"
    """`process`: each call in a process of a pool, for work that keeps the processor busy, may crash, or hangs.
    `ray`: each call as a task on any node of the cluster with a free core; where there is none, as `process`."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why the function can't be called."""
        try:
            function = load_function(self.function, folder)
        except ConfigError as error:
            yield "function", str(error)
            return
        yield from self.faults_of(function)

    def faults_of(self, function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
        """Why a function with these parameters can't be called."""
        try:
            parameters = named_parameters(function)
        except ValueError as error:
            yield "function", str(error)
            return
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in self.arguments:
                yield (
                    "function",
                    f"its parameter {name!r} is given nothing: call it `input`, `item` or like a step, or name it "
                    "under `arguments`",
                )
        for name in self.arguments if not takes_any_name(function) else ():
            if name not in parameters:
                known = did_you_mean(name, parameters) or f"; it has {listing(parameters) or 'none'}"
                yield "arguments", f"{self.function} has no parameter {name!r}{known}"


@record
class FunctionAgent:
    """Calls the function once for each item."""

    name: str
    caller: FunctionCaller
    arguments: TemplateTree
    journal: Journal | None = None
    kind: str = "function"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """What the function returns, as plain JSON values.

        Raises:
            FunctionFault: it raised, whatever it raised.
        """
        arguments = to_plain(self.arguments.of(scope.names))  # a copy: the function may change what it is given
        work = PaidWork(self.journal, visit, [self.name, arguments])
        known = work.recalled()
        return Output(known[0] if known is not None else await work.done(lambda: self._called(arguments, visit)))

    async def _called(self, arguments: dict[str, Any], visit: Visit) -> Any:
        visit.begin_work()
        try:
            return to_plain(await self.caller.call(arguments))
        finally:
            visit.end_work()


def build(config: FunctionConfig, name: str, assembly: Assembly) -> FunctionAgent:
    """The agent that `config` describes."""
    return FunctionAgent(
        name=config.function,
        caller=assembly.function(config.function, config.executor, config.placed),
        arguments=TemplateTree(config.arguments, where=f"agents.{name}.arguments"),
        journal=assembly.journal,
    )
