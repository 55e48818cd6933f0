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
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from network import Network

_PORT = 6399
_DASHBOARD = 8265


class RayNodes:
    """Use as `with`: nodes 1 (the head), 2, 3 at 10.77.N.1, .2, .3, on a network N that nobody else uses now.

    `dashboard`: the head has one, which takes jobs. `more`: further variables of the nodes' environment.
    """

    def __init__(
        self,
        count: int = 3,
        cores: int = 2,
        labels: dict[int, str] | None = None,
        dashboard: bool = False,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._more = more
        self._count = count
        self._network = Network(count)
        self._cores = cores
        self._labels = labels or {}
        self._dashboard = dashboard
        self._folder = Path(tempfile.mkdtemp(prefix="agbray-"))

    @property
    def address(self) -> str:
        """Of the head."""
        return f"{self.host(1)}:{_PORT}"

    @property
    def jobs_address(self) -> str:
        """Of the head's dashboard."""
        return f"http://{self.host(1)}:{_DASHBOARD}"

    def host(self, number: int) -> str:
        """A node's address."""
        return self._network.host(number)

    def __enter__(self) -> RayNodes:
        self._network.open()
        for number in range(1, self._count + 1):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self._count, 0, -1):
            self.kill(number)
        self._network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, number: int) -> None:
        """Start a node's Ray."""
        ip = self.host(number)
        where = ["--head", f"--port={_PORT}"] if number == 1 else [f"--address={self.address}"]
        options = [
            f"--node-ip-address={ip}",
            f"--num-cpus={self._cores}",
            "--object-store-memory=100000000",
            "--disable-usage-stats",
        ]
        temporary = self._folder / str(number)  # on machines of their own they would share none, either
        temporary.mkdir(exist_ok=True)
        options.append(f"--temp-dir={temporary}")
        if number == 1:
            options += [f"--include-dashboard={str(self._dashboard).lower()}"]
            options += [f"--dashboard-host={ip}", f"--dashboard-port={_DASHBOARD}"]
        if number in self._labels:
            options.append(f"--labels={self._labels[number]}")
        programs = Path(sys.executable).parent
        started = subprocess.run(
            [*self.inside(number), str(programs / "ray"), "start", *where, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**self.environ, **self._more},
        )
        assert started.returncode == 0, started.stdout + started.stderr

    @property
    def environ(self) -> dict[str, str]:
        """What nodes are started with."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "RAY_AUTH_MODE": "disabled", "AGENTBATCH_JOBS": str(self._folder / "jobs")}

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
        listing = ["ip", "netns", "pids", self._network.name(number)]
        told = subprocess.run(listing, capture_output=True, text=True, check=False)
        return [int(pid) for pid in told.stdout.split()]

    def cut(self, number: int) -> None:
        """Take a node off the network."""
        self._network.cut(number)

    def heal(self, number: int) -> None:
        """Put it back."""
        self._network.heal(number)

    def inside(self, number: int) -> list[str]:
        """What a command begins with to run on a node."""
        return self._network.inside(number)

    def without_sight_of(self, number: int) -> list[str]:
        """What a command begins with that is not to find a node's processes: Ray joins by a raylet that it finds on its
        machine, the head's above all others."""
        hide = (
            f"e=$(mktemp -d); for p in $(ip netns pids {self._network.name(number)}); do mount --bind $e /proc/$p; done"
        )
        return ["unshare", "-m", "sh", "-c", f'{hide} 2> /dev/null; exec "$@"', "sh"]
