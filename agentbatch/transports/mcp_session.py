# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# The package `mcp` is an extra: where it is not installed, its types are not known.
"""The border to MCP servers, over stdio and streamable HTTP: https://modelcontextprotocol.io/specification.

The client is that of the package `mcp`, which is imported here and nowhere else; import this module late.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast

import anyio
import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from agentbatch import __version__
from agentbatch.errors import ConnectionFault, StepError, StepTimeout, ToolFault
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.text.redact import visible
from agentbatch.transports.base import CONNECT_TIMEOUT_S
from agentbatch.transports.command import Command
from agentbatch.transports.httpx_client import tls_context
from agentbatch.transports.line_process import MAX_LINE_BYTES, LineProcess

_PATIENCE_S = 1.0
"""A server whose input has ended gets so long to end by itself."""
_READ_S = 300.0
"""A server over HTTP that sends nothing for so long is gone; calls have their own, shorter, timeouts."""
_MOST_PAGES = 100
_GONE = ("Connection closed", "Session terminated")
"""What the client says of a server that is no longer there, or no longer knows the session."""


@record
class CallResult:
    """What came of a call, as text. `failed`: the tool says that it went wrong."""

    text: str
    failed: bool


class Line(Protocol):
    """The way to a server.

    Attributes:
        lost: the server is no longer there.
    """

    lost: bool

    @property
    def last_words(self) -> str:
        """What is known of why it ended, or declined."""
        ...

    def open(self) -> AbstractAsyncContextManager[Any]:
        """The client's transport: a pair of streams of messages."""
        ...


class StdioLine:
    """A server that is a program: one JSON-RPC message a line, over its standard input and output."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: LineProcess | None = None
        self.lost = False

    @property
    def last_words(self) -> str:
        return "" if self._process is None else self._process.last_words

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Any]:
        """Start the program; it is ended on leaving."""
        process = self._process = await LineProcess.start(self._command)
        try:
            arriving, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            to_send, leaving = anyio.create_memory_object_stream[SessionMessage](0)
            async with received, to_send, anyio.create_task_group() as group:
                group.start_soon(self._receive, process, arriving)
                group.start_soon(self._send, process, leaving)
                yield received, to_send
                group.cancel_scope.cancel()
        finally:
            await process.close(_PATIENCE_S)

    async def _receive(self, process: LineProcess, arriving: Any) -> None:
        async with arriving:
            try:
                async for line in process.lines():
                    message = _parsed(line)
                    if message is not None:
                        await arriving.send(message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # nobody listens any more
            finally:
                self.lost = True
        process.kill()  # a program that is not understood any more is of no use

    async def _send(self, process: LineProcess, leaving: Any) -> None:
        async with leaving:
            try:
                async for each in leaving:
                    await process.write(
                        each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    )
            except ConnectionError:
                process.kill()


def _parsed(line: bytes) -> SessionMessage | None:
    """The message of a line; None for what programs print beside the protocol."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


class HttpLine:
    """A server behind a URL: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = headers
        self._refusal = ""
        self.lost = False

    @property
    def last_words(self) -> str:
        return self._refusal

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Any]:
        """Open a connection pool for it. Redirects are followed within its own origin only."""
        client = httpx2.AsyncClient(
            headers={"user-agent": f"agentbatch/{__version__}", **self._headers, "accept-encoding": "identity"},
            timeout=httpx2.Timeout(_READ_S, connect=CONNECT_TIMEOUT_S),
            verify=tls_context(),
            event_hooks={"response": [self._see]},
        )
        try:
            async with (
                client,
                streamable_http_client(self._url, http_client=client, max_sse_event_size=MAX_LINE_BYTES) as streams,
            ):
                yield streams
        finally:
            self.lost = True

    async def _see(self, response: httpx2.Response) -> None:
        if response.status_code >= 400:
            self._refusal = f"HTTP {response.status_code}"
        if response.headers.get("content-encoding", "identity") != "identity":  # its size could not be bounded
            raise httpx2.RemoteProtocolError("the answer is compressed, although that was not asked for")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):  # whose events are bounded
            response.stream = _Bounded(cast("httpx2.AsyncByteStream", response.stream), self._too_long)

    def _too_long(self) -> Exception:
        self._refusal = f"its answer is longer than {MAX_LINE_BYTES >> 20} MB"
        return httpx2.RemoteProtocolError(self._refusal)


class _Bounded(httpx2.AsyncByteStream):
    """A body that may not be longer than a line of a program may be."""

    def __init__(self, body: httpx2.AsyncByteStream, fault: Callable[[], Exception]) -> None:
        self._body = body
        self._fault = fault

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_LINE_BYTES
        async for part in self._body:
            left -= len(part)
            if left < 0:
                raise self._fault()
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


class McpSession:
    """One conversation with a server, kept open by a task of its own.

    Make it with `begin`; `close` it.

    Attributes:
        calls: how many are under way.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._client: Client | None = None
        self._closing = asyncio.Event()
        self._begun = asyncio.Event()
        self._fault: BaseException | None = None
        self._task = asyncio.create_task(self._live(), context=contextvars.Context())
        self.calls = 0

    @classmethod
    async def begin(cls, line: Line, timeout: float) -> McpSession:
        """A session whose server has answered.

        Raises:
            CommandFault: its program can't be started.
            ConnectionFault: it ended, could not be reached, or refused.
            StepTimeout: it did not answer in time (seconds).
        """
        session = cls(line)
        try:
            async with asyncio.timeout(timeout):
                await session._begun.wait()
        except TimeoutError:
            said = line.last_words
            await session.close()
            raise StepTimeout(f"it did not answer within {timeout:g} s{f': {said}' if said else ''}") from None
        except BaseException:
            session._task.cancel()
            raise
        if session._client is None:
            raise session._fault_of(session._fault)
        return session

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not (self._task.done() or self._line.lost)

    async def tools(self) -> list[ToolSpec]:
        """All tools that the server has, by its own names.

        Raises:
            StepError: it does not say.
        """
        assert self._client is not None
        found: list[ToolSpec] = []
        cursor: str | None = None
        try:
            for _ in range(_MOST_PAGES):
                page = await self._client.list_tools(cursor=cursor)
                found += [ToolSpec(tool.name, tool.description or "", tool.input_schema) for tool in page.tools]
                cursor = page.next_cursor
                if not cursor:
                    break
        except Exception as error:
            raise self._fault_of(error) from None
        return found

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallResult:
        """Have a tool called. A cancelled call is cancelled at the server.

        Raises:
            ConnectionFault: the server ended meanwhile.
            ToolFault: it refused, or its answer is none.
        """
        assert self._client is not None
        self.calls += 1
        try:
            result = await self._client.call_tool(tool, dict(arguments))
        except Exception as error:
            raise self._fault_of(error) from None
        finally:
            self.calls -= 1
        return CallResult(text_of(result), bool(result.is_error))

    async def close(self) -> None:
        """End the conversation, and the server where it is a program."""
        self._closing.set()
        if not self._begun.is_set():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _live(self) -> None:
        try:
            async with self._made() as client:
                self._client = client
                self._begun.set()
                await self._closing.wait()
        except Exception as error:  # whatever the client raises, groups of it included: `begin` and `call` tell it
            self._fault = error
        finally:
            self._line.lost = True
            self._begun.set()

    def _made(self) -> Client:
        return Client(self._line.open(), client_info=types.Implementation(name="agentbatch", version=__version__))

    def _fault_of(self, error: BaseException | None) -> StepError:
        """Our word for what the client raised."""
        error = _first(error)
        if isinstance(error, StepError):
            return error
        said = str(error) if error is not None else "the server ended"
        if isinstance(error, MCPError) and said not in _GONE and self.alive:
            return ToolFault(visible(said, 2000))
        if isinstance(error, RuntimeError | ValidationError) and self.alive:
            return ToolFault(f"the server's answer can't be used: {visible(said, 500)}")
        self._line.lost = True
        words = ": ".join(dict.fromkeys(part for part in (visible(said, 500), self._line.last_words) if part))
        return ConnectionFault(words or type(error).__name__)


def _first(error: BaseException | None) -> BaseException | None:
    """The error itself, or the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def text_of(result: types.CallToolResult) -> str:
    """What a model is told of a result: its texts, and of what is no text what it is."""
    parts = [_block_text(block) for block in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _block_text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type}: {block.mime_type}, {len(block.data) * 3 // 4:,} bytes, not shown]"
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return f"[{resource.uri}]\n{resource.text}"
        case types.EmbeddedResource(resource=resource):
            return f"[{resource.uri}: {resource.mime_type or 'binary'}, not shown]"
        case types.ResourceLink():
            return " ".join(part for part in (f"[{block.uri}]", block.name, block.description) if part)
        case _:
            return "[content of a kind that is not shown]"
