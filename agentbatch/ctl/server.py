"""The run's end of its control socket. A slow, silent or hostile client costs the run nothing but a descriptor."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import orjson

from agentbatch.ctl.socket_place import listen, socket_path
from agentbatch.files.plain_json import dump_line

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Does what a request asks for, at once, and says what came of it.

Raises:
    ValueError: it can't be done; the message is for the person who asked.
"""

_MOST_CLIENTS = 8
_MOST_BYTES = 65536

_LOGGER = logging.getLogger(__name__)


class ControlServer:
    """Listens beside the results while the `async with` lasts; where no socket can be made, nothing fails by it."""

    def __init__(self, results: Path | None, answer: Answer) -> None:
        self._path = None if results is None else socket_path(results)
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._path is None:
            return self
        try:
            listener = listen(self._path)
        except (OSError, ValueError) as error:
            _LOGGER.info("no control socket: %s", error)
            return self
        self._server = await asyncio.start_unix_server(self._welcome, sock=listener, limit=_MOST_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None or self._path is None:
            return
        with suppress(OSError):
            self._path.unlink()
        self._server.close()
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MOST_CLIENTS or not _is_ours(writer.get_extra_info("socket")):
            writer.close()
            return
        client = asyncio.create_task(self._talk(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(dump_line(self._reply(line)))
                await writer.drain()
        except (OSError, ValueError):
            pass  # it has gone, or sent a line without end
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
            if not isinstance(request, dict):
                raise ValueError('a request is an object, such as {"do": "status"}')
            return {"ok": True, **self._answer(cast("dict[str, Any]", request))}
        except ValueError as error:
            return {"ok": False, "error": str(error)}


def _is_ours(peer: socket.socket) -> bool:
    """Whether the process at the other end is the same user's, or root's: SO_PEERCRED, where the system has it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid in (os.geteuid(), 0)
