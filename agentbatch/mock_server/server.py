"""The mock server: real HTTP in front of what the mock model says."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from typing import Any, Self

from aiohttp import web

from agentbatch.errors import ConfigError
from agentbatch.mock_server.answering import Answering
from agentbatch.mock_server.anthropic_dialect import AnthropicDialect
from agentbatch.mock_server.batches import Batches
from agentbatch.mock_server.exchange import Dialect, Exchange
from agentbatch.mock_server.openai_dialect import OpenAIDialect
from agentbatch.mock_server.request_log import RequestLog
from agentbatch.mock_server.sending import json_response
from agentbatch.mock_server.settings import MockServerSettings
from agentbatch.mock_server.stats import Stats

_MAX_BODY = 256 * 1024 * 1024
_BACKLOG = 4096
_SHUTDOWN_S = 1.0


class MockServer:
    """An endpoint on a real socket. `async with MockServer(settings) as server:` serves until the block ends.

    Paths are told apart by their ends, so any prefix works: `/v1/chat/completions`, `/openai/deployments/x/chat/...`.
    The default settings take any free port.

    Raises:
        ConfigError: on entering, when the address can't be listened on.
        OutputError: on entering, when the log can't be opened.
    """

    def __init__(self, settings: MockServerSettings | None = None) -> None:
        self.settings = settings or MockServerSettings(port=0)
        self._dialects: dict[str, Dialect] = {"completions": OpenAIDialect(), "messages": AnthropicDialect()}
        self._served = 0
        self.port = self.settings.port
        self._stats = Stats()
        self._answering = Answering(self.settings)
        self._batches = Batches(self.settings, lambda: self._stats)

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:8000`."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The `base_url` that a client wants: the address with `/v1`."""
        return f"{self.url}/v1"

    def stats(self) -> dict[str, Any]:
        """What `GET /stats` answers."""
        return self._stats.report()

    def reset(self) -> None:
        """Forget every request: what follows goes as it went at the beginning. Requests that hang are dropped."""
        self._answering.stop()
        self._answering = Answering(self.settings)
        self._stats = Stats()
        self._batches = Batches(self.settings, lambda: self._stats)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._log = None if self.settings.log is None else RequestLog(self.settings.log)
            if self._log is not None:
                stack.callback(self._log.close)
            server = web.Server(self._handle, request_factory=_request, handler_cancellation=True, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.callback(lambda: self._answering.stop())
            await self._listen(runner)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def _listen(self, runner: web.ServerRunner) -> None:
        host, port = self.settings.host, self.settings.port
        try:
            await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        except OSError as error:
            if isinstance(error, socket.gaierror):
                raise ConfigError(f"can't listen on {host}: no address has this name; give another --host") from error
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(
                f"can't listen on {host}:{port}: {why}. Give another --port, or --port 0 for any free one"
            ) from error
        self.port = runner.addresses[0][1]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        last = request.path.rstrip("/").rpartition("/")[2]
        dialect = self._dialects.get(last)
        if dialect is not None and request.method == "POST":
            return await self._serve(request, dialect)
        if (reply := await self._batches.reply(request)) is not None:
            return reply
        return self._desk(request.method, last, request.path)

    async def _serve(self, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
        self._served += 1
        traceparent = request.headers.get("traceparent")
        exchange = Exchange(dialect, request.path, f"req_{self._served:08d}", traceparent, self._stats)
        exchange.stats.arrived(traceparent)
        try:
            return await self._answering.reply(request, exchange)
        except (asyncio.CancelledError, ConnectionError):
            exchange.reason = exchange.reason or "client_left"
            raise
        finally:
            exchange.stats.left(exchange.status, exchange.reason)
            if self._log is not None:
                self._log.write(exchange.log_line())

    def _desk(self, method: str, name: str, path: str) -> web.Response:
        """Everything but answers."""
        if (method, name) == ("GET", "health"):
            return json_response(200, {"status": "ok"})
        if (method, name) == ("GET", "stats"):
            return json_response(200, self.stats())
        if (method, name) == ("POST", "reset"):
            self.reset()
            return json_response(200, {"status": "reset"})
        if (method, name) == ("GET", "models"):
            return json_response(200, _models(self.settings.models))
        message = f"Unknown request URL: {method} {path}. Please check the URL for typos."
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return json_response(404, {"error": error})


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    """aiohttp's own, but for the size of the body."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY)


def _models(names: list[str]) -> dict[str, Any]:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "agentbatch"} for name in names]
    return {"object": "list", "data": models}
