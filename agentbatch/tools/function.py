"""The tool `function`: a Python function of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConfigError
from agentbatch.files.plain_json import to_plain
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.settings import TemplateValue
from agentbatch.step import Visit
from agentbatch.templates.tree import TemplateTree
from agentbatch.tools.base import ToolConfig, with_arguments
from agentbatch.tools.parameters import parameter_schema
from agentbatch.tools.signature import function_spec
from agentbatch.transports.function import FunctionCaller, load_function


class FunctionToolConfig(ToolConfig):
    """A Python function as a tool: sync ones run in threads, async ones on the event loop."""

    function: str
    """`module:name`. The module is installed, or stands beside the config. Description and parameters come from its
    docstring and its type hints, where the config does not give them."""
    arguments: dict[str, TemplateValue] = Field(default_factory=dict[str, Any])
    """Arguments that the config gives, and that the model neither sees nor sets: `{user: "{{ input.user_id }}"}`."""
    executor: Literal["thread", "process"] = "thread"
    """`process`: each call in a process of its own pool, which can crash, and is ended at the timeout."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why the function can't be a tool."""
        try:
            spec_of(self, "", folder)
        except ConfigError as error:
            yield "function", str(error)


@record
class FunctionTool:
    """Calls the function with the model's arguments and the config's."""

    spec: ToolSpec
    caller: FunctionCaller
    presets: TemplateTree

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """The function's result, as plain JSON values."""
        given = self.presets.of(with_arguments(scope, arguments).names)
        return to_plain(await self.caller.call({**arguments, **given}))


def spec_of(config: FunctionToolConfig, name: str, folder: Path) -> ToolSpec:
    """What the model is told.

    Raises:
        ConfigError: the function can't be loaded, or says too little of itself.
    """
    function = load_function(config.function, folder)
    try:
        if config.parameters is not None:
            parameters, said = parameter_schema(config.parameters), ""
        else:
            found = function_spec(function, hidden=config.arguments)
            parameters, said = parameter_schema(found.parameters), found.description
    except ValueError as error:
        raise ConfigError(f"{config.function}: {error}") from None
    return ToolSpec(name, config.description or said, parameters)


def build(config: FunctionToolConfig, name: str, assembly: Assembly) -> FunctionTool:
    """The tool that `config` describes."""
    return FunctionTool(
        spec_of(config, name, assembly.folder),
        assembly.function(config.function, config.executor),
        TemplateTree(config.arguments, where=f"tools.{name}.arguments"),
    )
