from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbatch.errors import ExitCode, LockedError, OutputError
from agentbatch.files.lock import OutputLock

HANG_S = 30

# takes the lock, starts a child as told, says so, and waits to be killed
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from agentbatch.files.lock import OutputLock

lock = OutputLock(Path(sys.argv[1]))
lock.acquire()
child = 0
if sys.argv[2] == "exec":
    child = subprocess.Popen(["sleep", "300"], close_fds=False, stdin=0, stdout=2, stderr=2).pid
elif sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        time.sleep(300)
print(child, flush=True)
time.sleep(300)
"""


class Holder:
    """A process that holds the lock, with a child that may outlive it."""

    def __init__(self, output: Path, child: str = "none") -> None:
        command = [sys.executable, "-c", HOLDER, str(output), child]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.child = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=HANG_S)

    def end(self) -> None:
        self.kill()
        if self.child:
            os.kill(self.child, signal.SIGKILL)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "x.results.jsonl"


@pytest.fixture
def holder(output: Path) -> Iterator[Holder]:
    held = Holder(output)
    yield held
    held.end()


def test_a_second_run_is_refused_with_the_first_ones_pid_and_host(output: Path, holder: Holder) -> None:
    with pytest.raises(LockedError) as caught:
        OutputLock(output).acquire()
    assert f"pid {holder.process.pid} on {os.uname().nodename}, since 2" in str(caught.value)
    assert caught.value.exit_code == ExitCode.LOCKED


def test_a_killed_holder_blocks_nobody(output: Path, holder: Holder) -> None:
    holder.kill()
    assert output.with_name(f"{output.name}.lock").exists()
    with OutputLock(output):
        pass


@pytest.mark.parametrize("child", ["exec", "fork"])
def test_a_child_that_outlives_a_killed_holder_does_not_keep_the_lock(output: Path, child: str) -> None:
    holder = Holder(output, child)
    try:
        with pytest.raises(LockedError):
            OutputLock(output).acquire()
        holder.kill()
        os.kill(holder.child, 0)  # it lives
        with OutputLock(output):
            pass
    finally:
        holder.end()


def test_a_forked_child_that_ends_does_not_take_the_lock_from_its_parent(output: Path) -> None:
    with OutputLock(output):
        subprocess.run(["true"], check=True)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(LockedError):
            OutputLock(output).acquire()


def test_releasing_removes_the_file_and_lets_the_next_one_in(output: Path) -> None:
    for _ in range(3):
        with OutputLock(output) as lock:
            hint = json.loads(lock.path.read_text())
            assert hint["pid"] == os.getpid()
            assert set(hint) == {"pid", "host", "boot_id", "started_at"}
        assert not lock.path.exists()
        lock.release()  # a second time is nothing


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\0\0",
        b"[]",
        b"not json",
        json.dumps(
            {"pid": os.getpid(), "host": os.uname().nodename, "boot_id": "another", "started_at": "2001"}
        ).encode(),
        json.dumps({"pid": 1, "host": "elsewhere", "boot_id": "x", "started_at": "2001"}).encode(),
    ],
    ids=["empty", "NUL", "a list", "no JSON", "another boot", "another host"],
)
def test_stale_text_blocks_nobody(output: Path, text: bytes) -> None:
    output.with_name(f"{output.name}.lock").write_bytes(text)
    with OutputLock(output) as lock:
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()


def test_a_holder_without_readable_text_is_refused_all_the_same(output: Path, holder: Holder) -> None:
    output.with_name(f"{output.name}.lock").write_bytes(b"\xff{")
    with pytest.raises(LockedError, match="has not said its name"):
        OutputLock(output).acquire()


def test_two_names_of_one_output_have_one_lock(output: Path) -> None:
    link = output.with_name("link.jsonl")
    link.symlink_to(output)
    with OutputLock(output), pytest.raises(LockedError):
        OutputLock(link).acquire()


def test_different_outputs_do_not_meet(output: Path) -> None:
    with OutputLock(output), OutputLock(output.with_name("other.jsonl")):
        pass


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot lock the output: No such file or directory"):
        OutputLock(tmp_path / "no" / "x.jsonl").acquire()


CONTENDER = """
import os, sys
from pathlib import Path
from agentbatch.errors import LockedError
from agentbatch.files.lock import OutputLock

output, inside, turns = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
while turns:
    try:
        with OutputLock(output):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails where two are inside
            os.unlink(inside)
            turns -= 1
    except LockedError:
        pass
"""


def test_many_takers_and_releasers_are_never_inside_together(output: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONTENDER, str(output), str(tmp_path / "inside"), "300"]
    contenders = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    deadline = time.monotonic() + HANG_S
    for contender in contenders:
        _, said = contender.communicate(timeout=max(0.1, deadline - time.monotonic()))
        assert (contender.returncode, said) == (0, b"")
    assert not output.with_name(f"{output.name}.lock").exists()


def test_a_link_in_its_place_is_not_followed(output: Path) -> None:
    """What it leads to may be anybody's, and would be written over."""
    precious = output.with_name("precious")
    precious.write_text("precious")
    Path(f"{output}.lock").symlink_to(precious)
    with pytest.raises(OutputError, match="cannot lock the output"):
        OutputLock(output).acquire()
    assert precious.read_text() == "precious"
