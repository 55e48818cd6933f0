"""The sessions with one MCP server: opened when needed, shared by all items, begun again when the server ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentbatch.errors import ConnectionFault, RunStopped, StepError, ToolFault
from agentbatch.messages import ToolSpec
from agentbatch.process.control import Control
from agentbatch.record import record
from agentbatch.text.figures import counted
from agentbatch.text.redact import visible

if TYPE_CHECKING:
    from agentbatch.transports.mcp_session import McpSession

_TRIES = 3
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


@record
class PoolTerms:
    """How many sessions at once, and how often in a run one that was lost is replaced."""

    sessions: int = 1
    max_restarts: int = 20


class McpPool:
    """One server's sessions.

    Args:
        name: the server's, in the config.
        terms: how many.
        begin: opens a session; raises a `StepError` where there is none.
        control: stops the run when the server is beyond help.
    """

    def __init__(
        self, name: str, terms: PoolTerms, begin: Callable[[], Awaitable[McpSession]], control: Control
    ) -> None:
        self.name = name
        self._terms = terms
        self._begin = begin
        self._control = control
        self._sessions: list[McpSession] = []
        self._opening = asyncio.Lock()
        self._lost = 0
        self._pauses = 0

    async def tools(self) -> list[ToolSpec]:
        """All tools that the server has, by its own names; this is the first that is asked of it.

        Raises:
            StepError: it does not start, or does not say.
        """
        async with self._opening:
            if not self._sessions:
                self._sessions.append(await self._begin())
        return await self._sessions[0].tools()

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What came of a call, as text.

        Raises:
            ToolFault: the tool says that it failed, or the server refused the call.
            ConnectionFault: the server ended during the call, which may have done its work.
            RunStopped: the server has ended too often, or does not start any more.
        """
        session = await self._free()
        try:
            result = await session.call(tool, arguments)
        except ConnectionFault as fault:
            raise ConnectionFault(f"the MCP server {self.name} ended during the call: {fault.message}") from None
        if result.failed:
            raise ToolFault(result.text or "it failed, and does not say why")
        self._pauses = 0
        return result.text

    async def close(self) -> None:
        """End every session."""
        sessions, self._sessions = self._sessions, []
        await asyncio.gather(*(session.close() for session in sessions))

    async def _free(self) -> McpSession:
        """The session with the fewest calls; a new one where all are busy and more are allowed."""
        best = self._best()
        if best is not None and (not best.calls or len(self._sessions) >= self._terms.sessions):
            return best
        async with self._opening:
            best = self._best()
            if best is not None and (not best.calls or len(self._sessions) >= self._terms.sessions):
                return best
            await self._bury()
            session = await self._begun_again()
            self._sessions.append(session)
            return session

    def _best(self) -> McpSession | None:
        alive = [session for session in self._sessions if session.alive]
        return min(alive, key=lambda session: session.calls) if len(alive) == len(self._sessions) and alive else None

    async def _bury(self) -> None:
        """Close sessions whose server ended."""
        for session in [session for session in self._sessions if not session.alive]:
            self._sessions.remove(session)
            self._lost += 1
            logging.getLogger(__name__).warning("the MCP server %s ended; it is started again", self.name)
            await session.close()
            if self._lost > self._terms.max_restarts:
                self._stop(f"has ended {counted(self._lost, 'time')}: see what it says, or raise max_restarts")

    async def _begun_again(self) -> McpSession:
        for attempt in range(1, _TRIES + 1):
            if self._lost:
                await self._control.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._pauses))
                self._pauses += 1
            try:
                return await self._begin()
            except StepError as fault:
                if attempt == _TRIES:
                    self._stop(f"does not start any more: {visible(fault.message, 500)}")
        raise AssertionError("unreachable")

    def _stop(self, why: str) -> None:
        reason = f"the MCP server {self.name} {why}"
        self._control.stop(reason)
        raise RunStopped(reason)
