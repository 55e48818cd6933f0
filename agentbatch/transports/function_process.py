"""Python functions in processes of their own: one that crashes, or is ended at its timeout, costs its own call only.

Not `concurrent.futures`: there one crash fails every call in flight, and a call that hangs can't be ended.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orjson

from agentbatch.errors import FunctionFault
from agentbatch.files.plain_json import to_plain
from agentbatch.transports.process_tree import kill_tree, marked, new_mark

_LENGTH = struct.Struct(">Q")
_MAX_BYTES = 256 * 1024 * 1024


class ProcessCaller:
    """Calls one function in a pool of processes, each of which is used again as long as it answers.

    Arguments and results travel as JSON. `close` ends the processes.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._idle: list[_Worker] = []

    @property
    def at_once(self) -> int | None:
        return os.cpu_count() or 1

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """The function's result; a cancelled call ends its process.

        Raises:
            FunctionFault: the function raised, or its process died.
        """
        worker = self._idle.pop() if self._idle else _Worker(self._name, self._folder)
        try:
            answer = await worker.ask({"arguments": to_plain(dict(arguments))})
        except BaseException:
            worker.kill()
            raise
        if answer is None:
            raise FunctionFault(f"the process of {self._name} died: {worker.end()}")
        self._idle.append(worker)
        if "error" in answer:
            raise FunctionFault(answer["error"])
        return answer["result"]

    async def close(self) -> None:
        """End every idle process; those at work are their calls' business."""
        while self._idle:
            self._idle.pop().kill()


class _Worker:
    """One process, and the socket to it."""

    def __init__(self, name: str, folder: Path) -> None:
        self._mark = new_mark()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "agentbatch.transports.function_worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # stdout carries data only: what a function prints goes to stderr
                    env=marked(os.environ, self._mark),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise FunctionFault(f"no process to call {name} in: {error.strerror}") from None
        ours.setblocking(False)
        self._socket = ours
        self._begun = {"function": name, "folder": str(folder.absolute()), "path": sys.path}
        self._is_new = True

    async def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request, wait for its answer; None where the process died."""
        if self._is_new:
            request, self._is_new = {**self._begun, **request}, False
        loop = asyncio.get_running_loop()
        data = orjson.dumps(request)
        try:
            await loop.sock_sendall(self._socket, _LENGTH.pack(len(data)) + data)
            head = await self._read(_LENGTH.size)
            body = b"" if head is None else await self._read(_LENGTH.unpack(head)[0])
        except ConnectionError:
            return None
        return cast("dict[str, Any]", orjson.loads(body)) if body else None

    async def _read(self, size: int) -> bytes | None:
        if size > _MAX_BYTES:
            raise FunctionFault(f"the function's result is larger than {_MAX_BYTES // 1024**2} MB")
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            chunk = await loop.sock_recv(self._socket, min(1 << 20, size - len(data)))
            if not chunk:
                return None
            data += chunk
        return bytes(data)

    def kill(self) -> None:
        """End the process and everything it started."""
        self._socket.close()
        kill_tree(self._process.pid, self._mark)
        self._process.wait()

    def end(self) -> str:
        """How the process died, in words."""
        self.kill()
        code = self._process.returncode
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
