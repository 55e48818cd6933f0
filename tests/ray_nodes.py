"""Three Ray nodes on one machine, each in a network namespace of its own: what passes between them crosses a network.

Needs root, `ip netns` and no other Ray: `ray stop` inside a namespace would not keep to it, so processes are ended by
their namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_BRIDGE = "agbr0"
_PORT = 6399


def can_make_nodes() -> str | None:
    """Why nodes can't be made here; None where they can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and `ip` for network namespaces"
    made = subprocess.run(["ip", "netns", "add", "agbtry"], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", "agbtry"], check=False)
    return None


class RayNodes:
    """Use as `with`: nodes 1 (the head), 2, 3 at 10.77.0.1, .2, .3."""

    def __init__(self, count: int = 3, cores: int = 2, labels: dict[int, str] | None = None) -> None:
        self._count = count
        self._cores = cores
        self._labels = labels or {}
        self._folder = Path(tempfile.mkdtemp(prefix="agbray-"))

    @property
    def address(self) -> str:
        """Of the head."""
        return f"10.77.0.1:{_PORT}"

    def __enter__(self) -> RayNodes:
        self._remove_network()
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("link", "set", _BRIDGE, "up")
        _ip("addr", "add", "10.77.0.254/24", "dev", _BRIDGE)
        for number in range(1, self._count + 1):
            self._make_namespace(number)
        for number in range(1, self._count + 1):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self._count, 0, -1):
            self.kill(number)
        self._remove_network()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, number: int) -> None:
        """Start a node's Ray."""
        ip = f"10.77.0.{number}"
        where = ["--head", f"--port={_PORT}"] if number == 1 else [f"--address={self.address}"]
        options = [
            f"--node-ip-address={ip}",
            f"--num-cpus={self._cores}",
            "--object-store-memory=100000000",
            "--disable-usage-stats",
            "--include-dashboard=false" if number == 1 else "--log-color=false",
        ]
        if number == 1:
            options.append(f"--temp-dir={self._folder}")
        if number in self._labels:
            options.append(f"--labels={self._labels[number]}")
        ray = str(Path(sys.executable).parent / "ray")
        started = subprocess.run(
            [*self.inside(number), ray, "start", *where, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        )
        assert started.returncode == 0, started.stdout + started.stderr

    def kill(self, number: int) -> None:
        """Kill all processes of a node, at once."""
        for _ in range(20):
            pids = self.pids(number)
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)

    def pids(self, number: int) -> list[int]:
        """The processes inside a node's namespace."""
        told = subprocess.run(["ip", "netns", "pids", f"agbn{number}"], capture_output=True, text=True, check=False)
        return [int(pid) for pid in told.stdout.split()]

    def cut(self, number: int) -> None:
        """Take a node off the network."""
        _ip("link", "set", f"agbv{number}", "down")

    def heal(self, number: int) -> None:
        """Put it back."""
        _ip("link", "set", f"agbv{number}", "up")

    def inside(self, number: int) -> list[str]:
        """What a command begins with to run on a node."""
        return ["ip", "netns", "exec", f"agbn{number}"]

    def _make_namespace(self, number: int) -> None:
        name, outer, inner = f"agbn{number}", f"agbv{number}", f"agbw{number}"
        _ip("netns", "add", name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", name)
        _ip("link", "set", outer, "master", _BRIDGE)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", inner)
        _ip("-n", name, "link", "set", inner, "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _remove_network(self) -> None:
        for number in range(1, self._count + 1):
            subprocess.run(["ip", "netns", "del", f"agbn{number}"], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", f"agbv{number}"], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", _BRIDGE], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
