"""The process of Ray's on this machine (raylet), by which a program belongs to a cluster."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable, Collection
from typing import Any

from agentbatch.errors import ConfigError

_ASK_S = 5.0
_KNOCK_S = 1.0
_LOOK_S = 0.25
_NOBODY = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)
_ALIVE = 0
"""`GcsNodeInfo.GcsNodeState.ALIVE` in Ray's protocol."""


def alive_raylets(address: str) -> Collection[str]:
    """The UNIX sockets of a cluster's raylets, each a path on its own machine. `address`: HOST:PORT of its head.

    Raises:
        Exception: whatever Ray makes of a cluster that does not answer.
    """
    raylet: Any = importlib.import_module("ray._raylet")
    told = raylet.GcsClient(address=address).get_all_node_info(timeout=_ASK_S)
    return {str(node.raylet_socket_name) for node in told.values() if node.state == _ALIVE}


def refuse_no_node(address: str, ask: Callable[[str], Collection[str]] = alive_raylets) -> None:
    """See that this machine is a node of the cluster. Blocks, for some milliseconds.

    Ray itself looks for a raylet here for up to a minute, or ends the process with a C++ stack. What is asked here is
    Ray's own business, so a version in which it stands elsewhere is joined as it always is.

    Args:
        address: HOST:PORT of its head.
        ask: tells the sockets of the raylets that are alive.

    Raises:
        ConfigError: it is none.
    """
    try:
        paths = ask(address)
    except Exception:  # whatever it is, joining has better words for it
        return
    if not any(listens(path) for path in paths):
        raise ConfigError(
            f"this machine is no node of the Ray cluster at {address}: begin one here with `ray start"
            f" --address={address}`, or send the run there with `agentbatch submit`"
        )


def listens(path: str) -> bool:
    """Whether somebody accepts connections at a UNIX socket; True also where that can't be told."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(_KNOCK_S)
        try:
            knocking.connect(path)
        except _NOBODY:
            return False
        except OSError:  # a full queue, a path that is too long, a folder of another user's: let Ray try
            return True
    return True


def end_processes() -> None:
    """Kill what this process began of a private Ray, in a version that keeps it where we look."""
    try:
        worker: Any = importlib.import_module("ray._private.worker")
        worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
    except Exception:  # what is left ends by itself, a minute after this process
        pass


async def ended(path: str) -> None:
    """Return as soon as nobody accepts connections at a UNIX socket any more.

    Ray ends this process, without a word and with exit code 1, when it next wants something of a raylet that is gone.
    A connection that nothing is said on tells of its end at once, and costs nothing until then.
    """
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except _NOBODY:
            return
        except OSError:  # it can't be told, see `listens`
            pass
        else:
            await _silence(reader, writer)
        if loop.time() - began < _LOOK_S:
            await asyncio.sleep(_LOOK_S)


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the connection ends."""
    try:
        while await reader.read(1024):
            pass
    except OSError:
        pass
    finally:
        writer.close()
