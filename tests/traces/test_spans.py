import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentbatch.errors import OutputError
from agentbatch.trace import Span, Tracer
from agentbatch.traces.trace_file import TraceFile, read_traces


def run_items(file: TraceFile, number: int, name: str = "writer") -> list[Span]:
    tracer = Tracer([file])
    roots: list[Span] = []
    for at in range(number):
        root = tracer.start("item", "item")
        root.attributes["item.id"] = str(at + 1)
        tracer.end(tracer.start(name, "agent", root))
        tracer.end(root)
        roots.append(root)
    return roots


def test_a_line_per_item_in_the_order_they_ended(tmp_path: Path) -> None:
    path = tmp_path / "t.traces.jsonl"
    file = TraceFile(path)
    roots = run_items(file, 500)
    file.close()
    assert path.read_bytes().count(b"\n") == 500
    read = list(read_traces(path))
    assert [tree[-1].trace_id for tree in read] == [root.trace_id for root in roots]
    assert [span.name for span in read[0]] == ["writer", "item"]
    assert file.dropped == 0


def test_one_trace_is_found_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path)
    roots = run_items(file, 20)
    file.close()
    (tree,) = read_traces(path, roots[7].trace_id)
    assert tree[-1].attributes["item.id"] == "8"
    assert list(read_traces(path, "0" * 32)) == []


def test_a_second_run_appends_and_a_fresh_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for fresh, expected in ((False, 2), (False, 4), (True, 2)):
        file = TraceFile(path, fresh=fresh)
        run_items(file, 2)
        file.close()
        assert len(list(read_traces(path))) == expected


@pytest.mark.parametrize("torn", [1, 100, 70_000])
def test_the_torn_line_of_a_killed_run_is_skipped_and_then_cut(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path)
    run_items(file, 3, name="x" * 80_000)
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:torn])
    assert len(list(read_traces(path))) == 3
    file = TraceFile(path)
    run_items(file, 1)
    file.close()
    assert path.read_bytes().startswith(whole)
    assert len(list(read_traces(path))) == 4
    assert path.read_bytes().count(b"\n") == 4


def test_a_file_that_is_one_torn_line_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"resourceSpans":[' + b" " * 100_000)
    TraceFile(path).close()
    assert path.read_bytes() == b""


def test_a_full_disk_loses_traces_and_counts_them() -> None:
    file = TraceFile(Path("/dev/full"))
    run_items(file, 10)
    file.close()
    assert file.dropped == 20
    assert file.error == "No space left on device"


SHORT_WRITES = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/traces")
from test_spans import run_items
from agentbatch.traces.trace_file import TraceFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = TraceFile(Path(sys.argv[1]), period=0.001)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for _ in range(20):
    run_items(file, 1)
    while file._waiting: pass
file.close()
print(file.dropped)
"""


def test_a_write_cut_short_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", SHORT_WRITES, path], capture_output=True, text=True, timeout=60, check=True
    )
    kept = len(list(read_traces(path)))
    assert 0 < kept < 20
    assert path.read_bytes().endswith(b"\n")
    assert int(done.stdout) == 2 * (20 - kept)


def test_beyond_the_bound_items_are_dropped_and_counted(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "t.jsonl", max_waiting=5, period=3600)
    run_items(file, 8)
    file.close()
    assert file.dropped == 2 * 3
    assert len(list(read_traces(tmp_path / "t.jsonl"))) == 5


def test_a_disk_that_hangs_does_not_hang_the_end(tmp_path: Path) -> None:
    fifo = tmp_path / "t.jsonl"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = TraceFile(fifo, period=0.001)
    run_items(file, 300)  # more than a pipe holds
    file.close(timeout=0.2)
    assert file.error == "the disk did not answer"
    assert file.dropped > 0
    os.set_blocking(reader, True)
    while any(thread.name == "trace file" for thread in threading.enumerate()):
        os.read(reader, 1 << 16)
    os.close(reader)


def test_lines_pass_the_redactor(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path, redact=lambda line: line.replace(b"writer", b"[gone]"))
    run_items(file, 1)
    file.close()
    assert next(read_traces(path))[0].name == "[gone]"


def test_items_that_end_after_the_close_are_counted_as_dropped(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "t.jsonl")
    file.close()
    run_items(file, 1)
    assert file.dropped == 2


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--no-traces"):
        TraceFile(tmp_path / "missing" / "t.jsonl")


def test_children_do_not_inherit_the_file(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "inherited.jsonl")
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, close_fds=False)
    file.close()
    assert "inherited" not in listing.stdout
