"""The class that Ray makes an actor of: a worker process. It only hands on what it is told."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from agentbatch import __version__
from agentbatch.engines.ray.folder import unpack, unpacked_folder
from agentbatch.engines.ray.parcels import Assignment, unpacked
from agentbatch.engines.ray.station import Station
from agentbatch.engines.ray.tasks import Tasks


class StationActor:
    """A `Station` as an actor. Keys and config reach it by a method call: constructor arguments show in Ray's logs."""

    def __init__(self) -> None:
        self._station: Station | None = None

    async def versions(self) -> dict[str, str]:
        """What runs here."""
        return {
            "agentbatch": __version__,
            "python": platform.python_version(),
            "host": platform.node(),
            "pid": str(os.getpid()),
        }

    async def begin(self, assignment: bytes, digest: str, package: list[Any], bank: Any) -> bytes:
        """Build the engine; its `Hello`.

        `digest` names the config's package, and is empty where the files themselves can be read; `package` holds a
        reference to the archive, which is fetched only where it is new; `bank` is the actor that
        lends limits, None for none.
        """
        folder = unpacked_folder(digest) if digest else Path("/")
        if folder is None:
            folder = unpack(digest, await package[0])
        told: Assignment = unpacked(assignment)
        tasks = Tasks(told, digest, package)
        self._station = Station(told, folder, None if bank is None else bank.report.remote, tasks.caller)
        return await self._station.ready()

    async def push(self, chunk: bytes) -> None:
        """As of `Station`."""
        assert self._station is not None
        self._station.push(unpacked(chunk))

    async def drain(self, acknowledged: int, wait_s: float, most: int, kept: int, paused: bool) -> bytes:
        """As of `Station`."""
        assert self._station is not None
        return await self._station.drain(acknowledged, wait_s, most, kept, paused)

    async def kept(self, through: int) -> None:
        """As of `Station`."""
        assert self._station is not None
        self._station.kept(through)

    async def stop(self, reason: str, at_once: bool) -> None:
        """As of `Station`."""
        assert self._station is not None
        self._station.stop(reason, at_once)

    async def pause(self, pausing: bool) -> None:
        """As of `Station`."""
        assert self._station is not None
        self._station.pause(pausing)

    async def finish(self) -> None:
        """As of `Station`."""
        assert self._station is not None
        self._station.finish()
