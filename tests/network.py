"""A network of machines in one: each is a network namespace, and what passes between them crosses a network."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

_NETWORKS = 16


def no_network() -> str | None:
    """Why there can be none here; None where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and `ip` for network namespaces"
    name = f"agbtry{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


class Network:
    """Machines 1, 2, 3, ... at 10.77.N.1, .2, .3, ..., where nobody else uses N now. `open` it, and `close` it.

    This process's own address there is 10.77.N.254.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def open(self) -> None:
        """Make it."""
        self.number, self._claim = _claim()
        self._bridge = f"agbr{self.number}"
        self._remove()
        ip("link", "add", self._bridge, "type", "bridge")
        ip("link", "set", self._bridge, "up")
        ip("addr", "add", f"{self.host(254)}/24", "dev", self._bridge)
        for machine in range(1, self._count + 1):
            self._connect(machine)

    def close(self) -> None:
        """Remove it. Processes inside are left alone."""
        self._remove()
        self._claim.close()

    def host(self, machine: int) -> str:
        """Its address."""
        return f"10.77.{self.number}.{machine}"

    def name(self, machine: int) -> str:
        """Of its namespace."""
        return f"agbn{self.number}x{machine}"

    def inside(self, machine: int) -> list[str]:
        """What a command begins with to run there."""
        return ["ip", "netns", "exec", self.name(machine)]

    def cut(self, machine: int) -> None:
        """Take it off the network."""
        ip("link", "set", self._link(machine), "down")

    def heal(self, machine: int) -> None:
        """Put it back."""
        ip("link", "set", self._link(machine), "up")

    def _link(self, machine: int) -> str:
        return f"agbv{self.number}x{machine}"

    def _connect(self, machine: int) -> None:
        name, outer, inner = self.name(machine), self._link(machine), f"agbw{self.number}x{machine}"
        ip("netns", "add", name)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", name)
        ip("link", "set", outer, "master", self._bridge)
        ip("link", "set", outer, "up")
        ip("-n", name, "addr", "add", f"{self.host(machine)}/24", "dev", inner)
        ip("-n", name, "link", "set", inner, "up")
        ip("-n", name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for machine in range(1, self._count + 1):
            subprocess.run(["ip", "netns", "del", self.name(machine)], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", self._link(machine)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)


def ip(*words: str) -> None:
    """Run iproute2's command."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _claim() -> tuple[int, IO[str]]:
    """A network's number, which is ours while the file is open."""
    for number in range(_NETWORKS):
        claim = (Path(tempfile.gettempdir()) / f"agbray-network-{number}").open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
        else:
            return number, claim
    raise RuntimeError("every network is in use")
