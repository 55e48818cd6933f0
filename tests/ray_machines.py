"""Machines for Ray in one: each has a network address, processes, a home, /tmp/ray and /dev/shm of its own.

What is typed there is what a person types at a machine: no option has to keep one node out of another's way. Needs
root, `ip`, `unshare` and `nsenter`.
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

from network import Network, ip

_OWN = ("/tmp/ray", f"/tmp/agentbatch-{os.getuid()}")
_BEGIN = """\
mount --make-rprivate /
for place in $OWN; do mkdir -p $place $FOLDER$place; mount --bind $FOLDER$place $place; done
mount -t tmpfs tmpfs /dev/shm
touch $FOLDER/up
while :; do sleep 1000; done
"""


class RayMachines:
    """Use as `with`: machines 1, 2, 3, ... at 10.77.N.1, .2, .3, ..., on a network N that nobody else uses now.

    This process's own address there is 10.77.N.254.
    """

    def __init__(self, count: int = 3) -> None:
        self._count = count
        self._network = Network(count)
        self._folder = Path(tempfile.mkdtemp(prefix="agbm-"))
        self._begun: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> RayMachines:
        self._network.open()
        for number in range(1, self._count + 1):
            ip("-n", self._network.name(number), "route", "add", "default", "via", self.host(254))
            self.switch_on(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._begun):
            self.switch_off(number)
        self._network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def host(self, number: int) -> str:
        """A machine's address."""
        return self._network.host(number)

    def home(self, number: int) -> Path:
        """Its home, where shells begin."""
        return self._folder / str(number) / "home"

    def as_here(self, text: str) -> str:
        """A text about the machines at 10.77.0.1 and so on, as it is about these."""
        return text.replace("10.77.0.", f"10.77.{self._network.number}.")

    def switch_on(self, number: int) -> None:
        """Begin a machine."""
        folder = self._folder / str(number)
        self.home(number).mkdir(parents=True, exist_ok=True)
        (folder / "up").unlink(missing_ok=True)
        apart = ["unshare", "--fork", "--pid", "--kill-child", "--mount-proc", "--mount"]
        self._begun[number] = subprocess.Popen(
            [*self._network.inside(number), *apart, "sh", "-c", _BEGIN],
            env={**os.environ, "FOLDER": str(folder), "OWN": " ".join(_OWN)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # of some versions of unshare that complain of a signal mask
        )
        give_up = time.monotonic() + 30
        while not (folder / "up").exists():
            assert self._begun[number].poll() is None, "the machine does not start"
            assert time.monotonic() < give_up
            time.sleep(0.05)

    def switch_off(self, number: int) -> None:
        """End all of its processes at once."""
        begun = self._begun.pop(number)
        os.kill(self._first(begun), signal.SIGKILL)
        begun.wait()

    def shell(self, number: int, line: str) -> list[str]:
        """What runs a line of a shell there, in its home."""
        first = str(self._first(self._begun[number]))
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        clean = ["env", "-i", f"PATH={path}", f"HOME={self.home(number)}", "TERM=dumb", "LANG=C.UTF-8"]
        at_home = f"cd; {line}"
        return ["nsenter", "-t", first, "-n", "-m", "-p", *clean, "bash", "-c", at_home]

    def type(self, number: int, line: str, timeout: float = 120) -> str:
        """Run a line there to its end; what it said."""
        done = subprocess.run(self.shell(number, line), capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _first(self, begun: subprocess.Popen[bytes]) -> int:
        """The machine's first process, with which all others end."""
        return int(Path(f"/proc/{begun.pid}/task/{begun.pid}/children").read_text().split()[0])
