"""From the names in an agent's `tools` to objects: each tool is built once and shared by all agents that have it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentbatch import tools
from agentbatch.assembly import Assembly, Elsewhere
from agentbatch.errors import ConfigError, StepError
from agentbatch.placement import Placement
from agentbatch.tools.agent import AgentToolConfig
from agentbatch.tools.base import TIMEOUT_S, ToolConfig
from agentbatch.tools.function import FunctionTool
from agentbatch.tools.mcp import McpServer, McpTools
from agentbatch.tools.mcp_config import split_name
from agentbatch.tools.offer import Offer, ToolTerms
from agentbatch.tools.toolbox import OneTool, Toolbox, ToolSource
from agentbatch.transports.function import FunctionCaller, ThreadCaller, load_function
from agentbatch.transports.function_process import ProcessCaller
from agentbatch.transports.threads import Threads

if TYPE_CHECKING:
    from agentbatch.config import Config


class ToolShop:
    """Builds the tools of one run. Close it to end the processes and threads that they use."""

    def __init__(self, config: Config, assembly: Assembly, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._config = config
        self._assembly = assembly
        self._sources: dict[str, ToolSource] = {}
        self._servers: dict[str, McpServer] = {}
        self._toolboxes: list[Toolbox] = []
        self.threads = Threads()
        self._callers: dict[tuple[str, str, Placement | None], FunctionCaller] = {}
        self._closing: list[Callable[[], Awaitable[None]]] = []

    @property
    def folder(self) -> Path:
        """Where the config stands."""
        return self._config.folder

    def toolbox(self, names: list[str]) -> Toolbox:
        """The tools of an agent, by the names in its config; a tool that is named twice is there once."""
        single = dict.fromkeys(tool for name in names for tool in self._config.toolsets.get(name, [name]))
        toolbox = Toolbox([self._source(name) for name in single])
        self._toolboxes.append(toolbox)
        return toolbox

    async def open(self) -> None:
        """Start the MCP servers in use, and see that every agent's tools are there.

        Raises:
            ConfigError: a server does not start, has no such tool, or two tools have the same name.
        """
        if not self._servers:
            return
        await at_once([server.open() for server in self._servers.values()])
        for toolbox in self._toolboxes:
            try:
                await toolbox.open()
            except StepError as fault:
                raise ConfigError(fault.message) from None

    def function(
        self, name: str, executor: Literal["thread", "process", "ray"], placement: Placement | None = None
    ) -> FunctionCaller:
        """What calls the function `module:name`; one for all who name it."""
        key = name, executor, None if self._elsewhere is None else placement
        if key not in self._callers:
            self._callers[key] = self._caller(*key)
        return self._callers[key]

    def _caller(self, name: str, executor: str, placement: Placement | None) -> FunctionCaller:
        far = None if self._elsewhere is None else self._elsewhere.function(name, executor, placement)
        if far is not None:
            return far
        if executor == "thread":
            return ThreadCaller(load_function(name, self.folder), self.threads)
        caller = ProcessCaller(name, self.folder)
        self._closing.append(caller.close)
        return caller

    async def close(self) -> None:
        """End what was begun."""
        for close in self._closing:
            await close()
        await at_once([server.close() for server in self._servers.values()])
        self.threads.close()

    def _source(self, name: str) -> ToolSource:
        server, pattern = split_name(name)
        if server in self._config.mcp_servers:
            return McpTools(self._server(server), pattern)
        if name not in self._sources:
            self._sources[name] = OneTool(self._offer(name, self._config.tools.get(name)))
        return self._sources[name]

    def _server(self, name: str) -> McpServer:
        if name not in self._servers:
            self._servers[name] = McpServer(name, self._config.mcp_servers[name], self._assembly)
        return self._servers[name]

    def _offer(self, name: str, config: ToolConfig | None) -> Offer:
        """The tool of that name; a name that is no tool's is an agent's or a group's."""
        config = config or AgentToolConfig(agent=name)
        tool = tools.module_of(config).build(config, name, self._assembly)
        concurrency = config.max_concurrency or (tool.caller.at_once if isinstance(tool, FunctionTool) else None)
        delegates = isinstance(config, AgentToolConfig)
        terms = ToolTerms(
            limiter=self._assembly.limiter(f"tool {name}", max_concurrency=concurrency),
            timeout=config.timeout or (None if delegates else TIMEOUT_S),
            retries=config.retries,
            max_output=config.max_output,
            delegates=delegates,
        )
        return Offer(tool, terms, self._assembly.journal, self._assembly.hooks, self._assembly.tape)


async def at_once(work: list[Coroutine[Any, Any, None]]) -> None:
    """Do all; of what they raise, the first is raised when all have ended."""
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
