from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import pytest

from agentbatch.errors import ExitCode, OutputError
from agentbatch.items import Item, ItemResult, Result
from agentbatch.results import encode_result
from agentbatch.results.scan import scan_results
from agentbatch.results.writer import LineWriter, ReaderGone, ResultsFile, StreamOut

HANG_S = 30
"""A test that waits longer than this hangs."""


def line(index: int, size: int = 20) -> bytes:
    result = ItemResult(Item(str(index + 1), index, {}), "0" * 31 + "1", 0, Result("ok", output="x" * size))
    return encode_result(result)


class Failures(list[OutputError]):
    """Collects what a writer reports."""


class Gate:
    """A sink that keeps lines in memory, and stands still like a hung disk while its gate is closed."""

    def __init__(self, opened: bool = True, fails_at: int = 0, error: Exception | None = None) -> None:
        self.groups: list[bytes] = []
        self.closed = 0
        self.gate = threading.Event()
        self.reached = threading.Event()
        self._fails_at = fails_at
        self._error = error or OutputError("no")
        if opened:
            self.gate.set()

    def append(self, data: bytes) -> None:
        self.reached.set()
        assert self.gate.wait(HANG_S)
        if len(self.groups) + 1 == self._fails_at:
            raise self._error
        self.groups.append(data)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "x.results.jsonl"


# groups, order, back-pressure


async def test_lines_are_kept_in_the_order_they_were_put(results: Path) -> None:
    writer = LineWriter(ResultsFile(results), Failures().append)
    lines = [line(index) for index in range(3000)]
    for one in lines:
        writer.put(one)
    await writer.drained()
    assert (writer.committed, writer.backlog) == (3000, 0)
    assert results.read_bytes() == b"".join(lines)  # on disk before close
    assert writer.close() is None


async def test_a_second_run_appends(results: Path) -> None:
    for index in range(3):
        writer = LineWriter(ResultsFile(results), Failures().append)
        writer.put(line(index))
        assert writer.close() is None
    assert results.read_bytes() == line(0) + line(1) + line(2)


async def test_putting_never_blocks_and_what_waits_goes_out_in_one_group() -> None:
    sink = Gate(opened=False)
    commits: list[int] = []
    writer = LineWriter(sink, Failures().append, commits.append)
    writer.put(b"first\n")
    assert await asyncio.to_thread(sink.reached.wait, HANG_S)
    for _ in range(5000):
        writer.put(b"more\n")  # would never return if it waited for the disk
    assert (writer.backlog, writer.committed) == (5001, 0)
    sink.gate.set()
    async with asyncio.timeout(HANG_S):
        await writer.drained()
    assert sink.groups == [b"first\n", b"more\n" * 5000]
    assert commits[-1] == 5001
    assert writer.close() is None


async def test_a_busy_loop_cannot_starve_the_writer(results: Path) -> None:
    writer = LineWriter(ResultsFile(results), Failures().append)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # from here on the thread runs only when this one steps aside of itself
    try:
        started = perf_counter()
        while not writer.committed and perf_counter() - started < HANG_S:
            writer.put(b"x\n")
    finally:
        sys.setswitchinterval(interval)
    assert writer.committed
    assert writer.close() is None


async def test_answers_of_megabytes_do_not_pile_up_before_the_disk(results: Path) -> None:
    """Half a gigabyte in one breath: the loop stands aside while the disk goes on, and a hung one is not waited for."""
    writer = LineWriter(ResultsFile(results), Failures().append)
    large = line(0, 4_000_000)
    most = 0
    for _ in range(128):
        writer.put(large)
        most = max(most, writer.backlog_bytes)
    await writer.drained()
    assert (writer.committed, writer.backlog_bytes) == (128, 0)
    assert most < 300_000_000
    assert writer.close() is None


async def test_a_group_does_not_grow_without_bound() -> None:
    sink = Gate(opened=False)
    writer = LineWriter(sink, Failures().append)
    writer.put(b"first\n")
    assert await asyncio.to_thread(sink.reached.wait, HANG_S)
    for _ in range(20):
        writer.put(b"x" * 1024 * 1024)
    sink.gate.set()
    assert writer.close() is None
    assert sum(map(len, sink.groups)) == 6 + 20 * 1024 * 1024
    assert max(map(len, sink.groups)) <= 5 * 1024 * 1024


async def test_waiting_for_a_shorter_backlog_ends_when_it_is_shorter() -> None:
    sink = Gate(opened=False)
    writer = LineWriter(sink, Failures().append)
    await writer.drained()
    for _ in range(10):
        writer.put(b"x\n")
    await writer.drained(11)
    waiters = [asyncio.create_task(writer.drained(limit)) for limit in (1, 5, 10)]
    cancelled = asyncio.create_task(writer.drained())
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    cancelled.cancel()
    sink.gate.set()
    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*waiters)
    assert writer.backlog == 0
    assert writer.close() is None


async def test_closing_commits_what_is_left_and_may_be_repeated(results: Path) -> None:
    writer = LineWriter(ResultsFile(results), Failures().append)
    for index in range(100):
        writer.put(line(index))
    assert writer.close() is None
    assert writer.close() is None
    assert writer.committed == 100
    assert scan_results(results).done == 100


async def test_closing_gives_up_on_a_hung_disk_after_its_timeout() -> None:
    sink = Gate(opened=False)
    writer = LineWriter(sink, Failures().append)
    writer.put(b"x\n")
    failure = writer.close(timeout=0.01)
    assert isinstance(failure, OutputError)
    assert "1 result lines" in str(failure)
    sink.gate.set()
    assert writer.close() is None


# failures


async def wait_for_failure(failures: Failures) -> OutputError:
    async with asyncio.timeout(HANG_S):
        while not failures:
            await asyncio.sleep(0.001)
    return failures[0]


async def test_after_a_failure_nothing_is_written_and_everybody_is_told() -> None:
    sink = Gate(opened=False, fails_at=2)
    failures = Failures()
    writer = LineWriter(sink, failures.append)
    writer.put(b"kept\n")
    assert await asyncio.to_thread(sink.reached.wait, HANG_S)
    writer.put(b"lost\n")
    waiting = asyncio.create_task(writer.drained())
    sink.gate.set()
    failure = await wait_for_failure(failures)
    with pytest.raises(OutputError):
        await waiting
    writer.put(b"late\n")
    with pytest.raises(OutputError):
        await writer.drained()
    assert writer.close() is failure
    assert writer.failure is failure
    assert failures == [failure]
    assert sink.groups == [b"kept\n"]
    assert writer.committed == 1
    assert sink.closed == 1


async def test_a_bug_in_the_sink_stops_the_run_too() -> None:
    failures = Failures()
    writer = LineWriter(Gate(fails_at=1, error=ZeroDivisionError("oops")), failures.append)
    writer.put(b"x\n")
    assert "ZeroDivisionError: oops" in str(await wait_for_failure(failures))
    assert writer.close() is failures[0]


async def test_a_full_disk_is_named_with_its_path_and_errno() -> None:
    failures = Failures()
    writer = LineWriter(ResultsFile(Path("/dev/full")), failures.append)
    writer.put(line(0))
    failure = await wait_for_failure(failures)
    assert str(failure).startswith("/dev/full: cannot be written: No space left on device (ENOSPC). Make room")
    assert failure.exit_code == ExitCode.IO_ERROR
    assert writer.close() is failure


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)


def truncate(path: Path) -> None:
    os.truncate(path, 3)


def extend(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"mine\n")


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(
    ("meddle", "word"),
    [
        (delete, "was deleted"),
        (replace, "was replaced"),
        (truncate, "was truncated"),
        (extend, "was written to by somebody else"),
        (delete_folder, "was deleted"),
    ],
)
@pytest.mark.parametrize("then_put", [True, False], ids=["before a write", "after the last write"])
async def test_a_file_somebody_meddles_with_is_never_written_on_silently(
    tmp_path: Path, meddle: Callable[[Path], None], word: str, then_put: bool
) -> None:
    results = tmp_path / "folder" / "x.results.jsonl"
    results.parent.mkdir()
    failures = Failures()
    writer = LineWriter(ResultsFile(results), failures.append)
    writer.put(line(0))
    await writer.drained()
    meddle(results)
    if then_put:
        writer.put(line(1))
    failure = writer.close()
    assert failure is not None
    assert word in str(failure)
    assert str(results) in str(failure)
    assert not results.exists() or line(1) not in results.read_bytes()
    assert await wait_for_failure(failures) is failure


async def test_a_file_that_ends_in_an_unfinished_line_is_not_opened(results: Path) -> None:
    results.write_bytes(b'{"id":')
    with pytest.raises(OutputError, match="unfinished line"):
        LineWriter(ResultsFile(results), Failures().append)
    assert results.read_bytes() == b'{"id":'


async def test_what_cannot_be_opened_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be opened: No such file or directory"):
        LineWriter(ResultsFile(tmp_path / "no" / "x.jsonl"), Failures().append)
    with pytest.raises(OutputError, match="cannot be opened: Is a directory"):
        LineWriter(ResultsFile(tmp_path), Failures().append)


def test_children_do_not_inherit_the_file(results: Path) -> None:
    sink = ResultsFile(results)
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True)
    assert results.name not in listing.stdout
    sink.close()


# stdout


async def test_a_stream_takes_all_though_its_reader_is_slow_and_its_pipe_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LineWriter(StreamOut(writing), Failures().append)
    lines = [line(index, size=5000) for index in range(200)]  # more than a pipe holds
    for one in lines:
        writer.put(one)
    got = b""
    while len(got) < sum(map(len, lines)):
        got += await asyncio.to_thread(os.read, reading, 4096)
    assert got == b"".join(lines)
    assert writer.close() is None
    os.close(reading)
    os.close(writing)


async def test_a_reader_that_leaves_is_told_apart() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    failures = Failures()
    writer = LineWriter(StreamOut(writing), failures.append)
    writer.put(line(0))
    failure = await wait_for_failure(failures)
    assert isinstance(failure, ReaderGone)
    assert failure.exit_code == ExitCode.SIGPIPE
    assert writer.close() is failure
    os.close(writing)


# a process of its own: torn writes, failing syncs, kills

WRITER = """
import asyncio, os, resource, sys
from pathlib import Path
from time import perf_counter
from agentbatch.items import Item, ItemResult, Result
from agentbatch.results.scan import scan_results
from agentbatch.results.writer import LineWriter, ResultsFile
from agentbatch.results import encode_result

results, count, limit, window = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def tell(text):
    os.write(1, f"{text}\\n".encode())

async def main():
    done = scan_results(results).done
    tell(f"found {done}")
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    failed = asyncio.Event()
    writer = LineWriter(
        ResultsFile(results), lambda error: failed.set(), lambda committed: tell(f"committed {done + committed}")
    )
    for index in range(done, count):
        if failed.is_set():
            break
        result = Result("ok", output="x" * (index % 300))
        writer.put(encode_result(ItemResult(Item(str(index + 1), index, {}), "0" * 31 + "1", 0, result)))
        try:
            await writer.drained(window)
        except Exception:
            break
    failure = writer.close()
    await asyncio.sleep(0)
    tell(f"committed {done + writer.committed}")
    if failure is not None:
        sys.exit(f"{failure}")

try:
    asyncio.run(main())
except Exception as error:
    sys.exit(f"{error}")
"""


def start_writer(
    results: Path, count: int, limit: int = 0, wrap: tuple[str, ...] = (), window: int = 50
) -> subprocess.Popen[bytes]:
    command = [*wrap, sys.executable, "-c", WRITER, str(results), str(count), str(limit), str(window)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_writer(
    results: Path, count: int, limit: int = 0, wrap: tuple[str, ...] = (), window: int = 50
) -> tuple[int, int, str]:
    """A whole run of the writer process: exit code, lines it called committed, what it said."""
    process = start_writer(results, count, limit, wrap, window)
    out, err = process.communicate(timeout=HANG_S)
    return process.returncode, last_committed(out.splitlines()), err.decode(errors="replace")


def last_committed(output: list[bytes]) -> int:
    counts = [
        int(told.split()[1]) for told in output if told.startswith((b"committed ", b"found ")) and told.split()[1:]
    ]
    return counts[-1] if counts else 0


def assert_well_formed(results: Path, at_least: int) -> int:
    """All lines up to some number, in order, none twice, none torn; and no fewer than were called committed."""
    lines = results.read_bytes().splitlines(keepends=True)
    assert lines == [line(index, index % 300) for index in range(len(lines))]
    assert len(lines) >= at_least
    return len(lines)


@pytest.mark.parametrize("limit", [1, 250, 251, 5_000, 5_001, 30_000])
def test_a_write_torn_by_a_full_disk_leaves_whole_lines_and_goes_on_when_there_is_room(
    results: Path, limit: int
) -> None:
    code, committed, said = run_writer(results, 300, limit)
    assert code == 1
    assert "x.results.jsonl: cannot be written: File too large (EFBIG). Make room" in said
    assert assert_well_formed(results, committed) == committed
    assert run_writer(results, 300)[0] == 0
    assert assert_well_formed(results, 300) == 300


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the faults")


def injected(results: Path, fault: str) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-o", "/dev/null", "-P", str(results), "-e", f"inject={fault}", "--")


@needs_strace
@pytest.mark.parametrize("when", [1, 2, 3])
def test_after_a_failed_sync_no_line_of_its_group_passes_for_committed(results: Path, when: int) -> None:
    results.touch()
    # only the first failing sync is injected: believing a second one would be the fault
    code, committed, said = run_writer(results, 300, wrap=injected(results, f"fdatasync:error=EIO:when={when}"))
    assert code == 1
    assert "(EIO)" in said
    assert assert_well_formed(results, committed) == committed < 300
    assert run_writer(results, 300)[0] == 0
    assert assert_well_formed(results, 300) == 300


@needs_strace
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_kill_at_every_call_in_turn_loses_and_doubles_nothing(results: Path, call: str) -> None:
    results.touch()
    for when in range(1, 100):
        fault = injected(results, f"{call}:signal=KILL:when={when}")
        code, committed, _ = run_writer(results, 60, wrap=fault, window=10)
        if code == 0:
            break
        scan_results(results)
        assert_well_formed(results, committed)
        results.write_bytes(b"")
    else:
        raise AssertionError("never ran to its end")
    assert when > 3  # so it died three times at least, and once not
    assert assert_well_formed(results, 60) == 60


def test_twenty_kills_at_random_moments_lose_and_double_nothing(results: Path) -> None:
    draw = random.Random(7)
    committed = 0
    for _ in range(20):
        process = start_writer(results, 10_000_000)
        assert process.stdout is not None
        told = [process.stdout.readline()]
        for _ in range(draw.randrange(12)):
            told.append(process.stdout.readline())
        process.kill()
        out, _ = process.communicate(timeout=HANG_S)
        # what was in the pipe when it died was said before it died; a last line may be torn
        told += out[: out.rfind(b"\n") + 1].splitlines()
        committed = max(committed, last_committed(told))
        finished = scan_results(results)
        assert finished.done >= committed
        assert_well_formed(results, committed)
    assert committed > 0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "result writer"]
