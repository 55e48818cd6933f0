"""Tools of MCP servers: listed by their server when a run begins, called in its sessions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agentbatch.assembly import Assembly
from agentbatch.calls.command_line import program_path
from agentbatch.errors import ConfigError, ReplayMiss, StepError
from agentbatch.items import Scope
from agentbatch.kept.journal import Place
from agentbatch.kept.tape import TapedCall
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.mcp_config import McpServerConfig, chosen
from agentbatch.tools.mcp_pool import McpPool, PoolTerms
from agentbatch.tools.offer import Offer, ToolTerms
from agentbatch.tools.parameters import can_be_checked
from agentbatch.transports.command import Command, clean_environment
from agentbatch.transports.process_tree import end_orphans

_LISTED = ("name", "description", "parameters")
_MOST_NAME = 64
"""Characters of a tool's name: https://platform.openai.com/docs/api-reference/chat/create"""


@record
class McpTool:
    """One tool of a server."""

    spec: ToolSpec
    pool: McpPool
    name: str

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """What the server makes of it, as text.

        Raises:
            StepError: as of `McpPool.call`.
        """
        return await self.pool.call(self.name, arguments)


class McpServer:
    """One server of the config, and what it offers; shared by all agents that have tools of it."""

    def __init__(self, name: str, config: McpServerConfig, assembly: Assembly) -> None:
        self._name = name
        self._assembly = assembly
        terms = PoolTerms(config.sessions, config.max_restarts)
        self._pool = McpPool(name, terms, _beginning(name, config, assembly.folder), assembly.control)
        self._terms = ToolTerms(
            limiter=assembly.limiter(f"MCP server {name}", max_concurrency=config.max_concurrency),
            timeout=config.timeout,
            retries=config.retries,
            max_output=config.max_output,
        )
        self._offers: dict[str, Offer] = {}
        if config.command is not None:
            end_orphans()

    async def open(self) -> None:
        """Start it, and ask for its tools.

        Raises:
            ConfigError: it does not start, or has no tools.
        """
        listed = await self._listed()
        if not listed:
            raise ConfigError(f"mcp_servers.{self._name}: the server has no tools")
        for each in listed:
            spec = ToolSpec(name_for_model(self._name, each.name), each.description, told_schema(each.parameters))
            self._offers[each.name] = self._offer(McpTool(spec, self._pool, each.name))

    async def _listed(self) -> list[ToolSpec]:
        """Its tools. A recording has them, too, and then no server is needed."""
        tape = self._assembly.tape
        call = TapedCall("", Place(0, f"mcp_servers.{self._name}", 1), f"tools of {self._name}".encode())
        try:
            if tape is not None and tape.replays:
                return [ToolSpec(**each) for each in tape.find(call)]
            listed = await self._pool.tools()
        except ReplayMiss as miss:
            raise ConfigError(f"mcp_servers.{self._name}: {miss.message}") from None
        except StepError as fault:
            raise ConfigError(f"mcp_servers.{self._name}: it does not start: {fault.message}") from None
        if tape is not None:
            tape.keep(call, [{key: getattr(each, key) for key in _LISTED} for each in listed])
        return listed

    def _offer(self, tool: McpTool) -> Offer:
        return Offer(tool, self._terms, self._assembly.journal, self._assembly.hooks, self._assembly.tape)

    def offers(self, pattern: str) -> Sequence[Offer]:
        """The tools that a pattern stands for.

        Raises:
            ConfigError: none.
        """
        names = list(chosen(pattern, list(self._offers)))
        if not names:
            known = [visible(name, 80) for name in self._offers]
            raise ConfigError(
                f"mcp_servers.{self._name}: the server has no tool {pattern!r}{did_you_mean(pattern, known)}; it has "
                f"{listing(known, 40)}"
            )
        return [self._offers[name] for name in names]

    async def close(self) -> None:
        """End its sessions."""
        await self._pool.close()


@record
class McpTools:
    """A `ToolSource`: what an agent has of one server."""

    server: McpServer
    pattern: str

    async def open(self) -> Sequence[Offer]:
        """Those tools; the server has been opened when the run began."""
        return self.server.offers(self.pattern)


def name_for_model(server: str, tool: str) -> str:
    """`clock_get_time` for `clock.get_time`: providers allow no dots, and two servers may have tools of one name."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")
    if len(name) <= _MOST_NAME:
        return name
    return f"{name[: _MOST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def told_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments, as the server gives it; one that can't be used allows everything, for the
    server looks at its arguments itself."""
    own = {key: part for key, part in schema.items() if key != "$schema"}
    told: dict[str, Any] = {"type": "object", "properties": {}, **own}
    return told if can_be_checked(told) else {"type": "object", "properties": {}}


def _beginning(name: str, config: McpServerConfig, folder: Path) -> Any:
    """What opens a session with the server."""

    async def begin() -> Any:
        try:
            from agentbatch.transports.mcp_session import HttpLine, McpSession, StdioLine  # late: 1 s of start-up
        except ModuleNotFoundError:
            raise ConfigError(
                f"mcp_servers.{name}: MCP servers need another package: pip install 'agentbatch[mcp]'"
            ) from None
        line = StdioLine(_command(config, folder)) if config.url is None else HttpLine(config.url, config.headers)
        return await McpSession.begin(line, config.start_timeout)

    return begin


def _command(config: McpServerConfig, folder: Path) -> Command:
    argv = [program_path(config.command or "", folder), *config.args]
    env = cast("dict[str, str]", config.env)  # the loader has looked up what was a list of names
    return Command(argv, clean_environment(env), folder / (config.cwd or ""))
