"""Connections: opened where none is free, kept for the next request, and closed when nobody came for a while."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cached_property
from typing import Any

import aiohappyeyeballs

from agentbatch.transports import faults
from agentbatch.transports.connection import Connection
from agentbatch.transports.read_room import ReadRoom
from agentbatch.transports.request_head import Origin
from agentbatch.transports.wake_ups import WakeUps

_CONNECTS_AT_ONCE = 256
"""A ramp of thousands of TLS handshakes would starve each other past the connect timeout: let them queue instead."""

_KEEP_ALIVE_S = 4.0
"""Shorter than the idle timeout of common servers (5 s: uvicorn, Node), so that we are the one to close first."""

_NAMES_HOLD_S = 60.0
_EYEBALLS_S = 0.25
"""How long an address may take before the next one is tried beside it (RFC 8305 section 5)."""

Addresses = list[Any]


class Pool:
    """Any number of connections to any number of origins.

    Args:
        connect_timeout: seconds for DNS, TCP and TLS together.
        most_bytes: of a body.
    """

    def __init__(self, connect_timeout: float, most_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_timeout = connect_timeout
        self._most_bytes = most_bytes
        self._room = ReadRoom()
        self._wake_ups = WakeUps(self._loop)
        self._idle: dict[Origin, list[Connection]] = {}
        self._names = _Names(self._loop)
        self._door = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, origin: Origin) -> Connection | None:
        """A connection that was used before, where one is free: the one that was used last."""
        idle = self._idle.get(origin)
        oldest = self._loop.time() - _KEEP_ALIVE_S
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and connection.usable:
                return connection
            connection.cut()
        return None

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """It is free for the next."""
        connection.idle_since = self._loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEEP_ALIVE_S, self._close_old)

    async def connect(self, origin: Origin, where: str) -> Connection:
        """A new connection.

        Raises:
            Unreachable: there is none to be had.
        """
        try:
            async with self._door, asyncio.timeout(self._connect_timeout):
                return await self._open(origin, where)
        except TimeoutError as error:
            if error.errno is not None:  # the system's own, long before ours
                raise faults.connection_fault(error, where, connected=False) from None
            raise faults.connect_timeout(where, self._connect_timeout) from None
        except (OSError, ssl.CertificateError) as error:
            raise faults.connection_fault(error, where, connected=False) from None

    def close(self) -> None:
        """Close every connection that nobody uses."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in [each for idle in self._idle.values() for each in idle]:
            connection.cut()
        self._idle.clear()

    async def _open(self, origin: Origin, where: str) -> Connection:
        addresses = await self._names.look_up(origin.host, origin.port)
        context = self._context if origin.tls else None
        options: dict[str, Any] = {"ssl": context, "server_hostname": origin.host if origin.tls else None}

        def make() -> Connection:
            return Connection(self._loop, where, self._most_bytes, self._room, self._wake_ups)

        if len(addresses) == 1:
            host, port = addresses[0][4][:2]
            return (await self._loop.create_connection(make, host, port, **options))[1]
        sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            addresses, happy_eyeballs_delay=_EYEBALLS_S, loop=self._loop
        )
        try:
            return (await self._loop.create_connection(make, sock=sock, **options))[1]
        except BaseException:
            sock.close()
            raise

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """One for all: it takes 30 ms to make."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _close_old(self) -> None:
        oldest = self._loop.time() - _KEEP_ALIVE_S
        for origin, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since < oldest:
                    connection.cut()
            self._idle[origin] = [each for each in idle if not each.closed]
        waits = any(self._idle.values())
        self._sweep = self._loop.call_later(_KEEP_ALIVE_S / 4, self._close_old) if waits else None


class _Names:
    """The addresses of hosts, asked for once a minute, and each time with another one first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._asking: dict[tuple[str, int], asyncio.Lock] = {}

    async def look_up(self, host: str, port: int) -> Addresses:
        """All addresses of the host, as `getaddrinfo` gives them.

        Raises:
            OSError: it has none.
        """
        key = host, port
        if (found := self._fresh(key)) is not None:
            return found
        async with self._asking.setdefault(key, asyncio.Lock()):  # one asks for all
            if (found := self._fresh(key)) is not None:
                return found
            addresses = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._known[key] = self._loop.time() + _NAMES_HOLD_S, list(addresses)
            return list(addresses)

    def _fresh(self, key: tuple[str, int]) -> Addresses | None:
        until, addresses = self._known.get(key, (0.0, []))
        if until <= self._loop.time():
            return None
        if len(addresses) > 1:
            addresses.append(addresses.pop(0))
        return addresses.copy()
