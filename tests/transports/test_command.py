"""Commands: what they are given, what is kept of what they write, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentbatch.errors import CommandFault
from agentbatch.transports.command import Captured, Command, Ended, clean_environment, run_command
from agentbatch.transports.process_tree import MARK, end_orphans

ENV = clean_environment({})


async def sh(line: str, *arguments: str, stdin: bytes = b"", **limits: int) -> Ended:
    return await run_command(Command(["/bin/sh", "-c", line, "sh", *arguments], ENV, stdin=stdin), **limits)


def survivors(word: str) -> list[str]:
    """Processes whose command line has that word, zombies left out."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and word.encode() in line and int(entry.name) != os.getpid():
            found.append(line.decode())
    return found


async def none_left(word: str) -> None:
    """Killing takes the kernel a moment."""
    deadline = time.perf_counter() + 5
    while survivors(word):
        assert time.perf_counter() < deadline, survivors(word)
        await asyncio.sleep(0.01)


async def test_output_errors_and_exit_code_come_back() -> None:
    assert await sh("echo out; echo err >&2; exit 3") == Ended(3, Captured(b"out\n"), Captured(b"err\n"))
    assert (await sh("kill -9 $$")).code == -9


async def test_arguments_are_arguments_whatever_is_in_them() -> None:
    hostile = ["$(touch x)", "; rm -rf /", "`id`", "a b", "", "--help", "'\"\\", "ä\n"]
    ended = await sh('printf "%s|" "$@"', *hostile)
    assert ended.stdout.text == "|".join(hostile) + "|"


async def test_stdin_of_any_size_is_fed_and_may_be_left() -> None:
    data = os.urandom(3_000_000)
    assert (await run_command(Command(["cat"], ENV, stdin=data))).stdout.data == data
    assert (await sh("head -c 1; exit 0", stdin=data)).stdout.data == data[:1]
    assert (await sh("exit 4", stdin=data)).code == 4
    assert (await run_command(Command(["cat"], ENV))).stdout.data == b""


async def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    ended = await run_command(Command(["env"], clean_environment({"NAMED": "yes"})))
    names = {line.partition("=")[0] for line in ended.stdout.text.splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "NAMED", MARK}
    assert "NAMED=yes" in ended.stdout.text.splitlines()


async def test_no_descriptor_of_ours_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        ended = await run_command(Command([sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"], ENV))
    assert ended.stdout.text == "['0', '1', '2', '3']\n"  # the last one is that of the listing itself


async def test_a_flood_is_cut_counted_and_costs_no_memory() -> None:
    ended = await sh("head -c 100000000 /dev/zero; head -c 500000 /dev/zero >&2", max_stdout=1000, max_stderr=10)
    assert (ended.code, len(ended.stdout.data), ended.stdout.missing) == (0, 1000, 99_999_000)
    assert (len(ended.stderr.data), ended.stderr.missing) == (10, 499_990)


async def test_a_flood_blocks_nobody() -> None:
    flood = asyncio.ensure_future(sh("timeout 0.4 yes", max_stdout=100))
    turns = 0
    while not flood.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await flood).stdout.missing > 0
    assert turns > 50


async def test_a_cancelled_command_dies_with_its_whole_tree() -> None:
    word = "100.0421"
    line = f"""
        sleep {word} &
        setsid sleep {word} &
        (setsid setsid sleep {word} >/dev/null 2>&1 &)
        env -i setsid sleep {word} &
        sh -c 'trap "" TERM INT HUP; while :; do sleep {word}; done' &
        sleep {word}
    """
    running = asyncio.ensure_future(sh(line))
    while len(survivors(word)) < 7:
        await asyncio.sleep(0.01)
    began = time.perf_counter()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.perf_counter() - began < 1
    await none_left(word)


async def test_a_process_that_keeps_the_output_open_does_not_keep_us() -> None:
    word = "100.0422"
    began = time.perf_counter()
    ended = await sh(f"echo done; setsid sleep {word} & sleep {word} & exit 0")
    assert (ended.code, ended.stdout.data) == (0, b"done\n")
    assert time.perf_counter() - began < 5
    await none_left(word)


async def test_a_process_left_behind_that_floods_is_killed() -> None:
    word = "floodmark0423"
    ended = await sh(f"setsid yes {word} & echo done; exit 0", max_stdout=1000)
    assert ended.code == 0
    await none_left(word)


async def test_a_background_process_of_its_group_ends_with_it() -> None:
    word = "100.0424"
    await sh(f"sleep {word} >/dev/null 2>&1 & exit 0")
    await none_left(word)


async def test_commands_of_a_killed_run_are_ended_and_those_of_a_living_one_are_not() -> None:
    word = "100.0425"
    runner = f"""
import asyncio
from agentbatch.transports.command import *
asyncio.run(run_command(Command(["/bin/sh", "-c", "setsid sleep {word} & sleep {word}"], clean_environment({{}}))))
"""
    killed = subprocess.Popen([sys.executable, "-c", runner])
    own = asyncio.ensure_future(sh("sleep 100.0426"))
    while len(survivors(word)) < 3 or not survivors("100.0426"):
        await asyncio.sleep(0.01)
    end_orphans()
    assert len(survivors(word)) >= 3
    killed.kill()
    killed.wait()
    end_orphans()
    await none_left(word)
    assert survivors("100.0426")
    own.cancel()
    await none_left("100.0426")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Command(["no-such-program-here"], ENV), "no-such-program-here: no such command"),
        (Command(["/etc/passwd"], ENV), "can't be started: Permission denied"),
        (Command(["true"], ENV, Path("/no/such/folder")), "there is no folder /no/such/folder"),
        (Command(["echo", "a\0b"], ENV), "null byte"),
        (Command(["true", "x" * 10_000_000], ENV), "longer than the system allows"),
    ],
)
async def test_what_can_not_be_started_is_said_so(command: Command, words: str) -> None:
    with pytest.raises(CommandFault, match=words):
        await run_command(command)


async def test_many_at_once_leave_no_descriptor_and_no_zombie() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ended = await asyncio.gather(*(sh(f"echo {n}") for n in range(100)))
    assert [each.stdout.text for each in ended] == [f"{n}\n" for n in range(100)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert not ended_child()


def ended_child() -> int:
    """The id of a child that has ended and was not waited for; 0 if there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:  # no child at all
        return 0
