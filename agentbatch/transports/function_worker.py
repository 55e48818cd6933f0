"""The process at the other end of `function_process.py`: loads one function, and calls it when it is told to.

It ends when its socket does: nothing is left when the run is killed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import orjson

from agentbatch.errors import ConfigError, FunctionFault
from agentbatch.files.plain_json import to_plain
from agentbatch.transports.function import TypedFunction, contained, describe, is_async, load_function

_LENGTH = struct.Struct(">Q")


def main(descriptor: int) -> None:
    """Answer requests until there are no more."""
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    function = _Function()
    while True:
        data = orjson.dumps(answered(partial(function.result, requests.get())))
        connection.sendall(_LENGTH.pack(len(data)) + data)


class _Function:
    """The one function of this process, loaded when it is first called."""

    def __init__(self) -> None:
        self._typed: TypedFunction | None = None
        self._on_loop = False

    def result(self, request: dict[str, Any]) -> Any:
        """What a call gives."""
        if self._typed is None:
            sys.path[:] = request["path"]
            loaded = load_function(request["function"], Path(request["folder"]))
            self._typed, self._on_loop = TypedFunction(loaded), is_async(loaded)
        return called(self._typed, request["arguments"], on_loop=self._on_loop)


def answered(result: Callable[[], Any]) -> dict[str, Any]:
    """What a call gives, as `result` in plain JSON values; or as `error`, in words, what it raised."""
    try:
        return {"result": to_plain(result())}
    except (ConfigError, FunctionFault) as error:
        return {"error": str(error)}
    except BaseException as error:  # the border to the user's code, which may raise anything
        return {"error": describe(error)}


def called(function: TypedFunction, arguments: dict[str, Any], *, on_loop: bool) -> Any:
    """The function's result, in this thread."""
    if on_loop:
        return asyncio.run(contained(lambda: function.start(arguments)))
    return function.call(arguments)


def _listen(connection: socket.socket, requests: SimpleQueue[dict[str, Any]]) -> None:
    """Take requests in. When the other end is gone, so is this process, whatever the function is doing."""
    while True:
        head = _read(connection, _LENGTH.size)
        requests.put(cast("dict[str, Any]", orjson.loads(_read(connection, _LENGTH.unpack(head)[0]))))


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(1 << 20, size - len(data)))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
