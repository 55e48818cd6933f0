import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter

import pytest
from recorded_run import Recorder, item_result, write_traces

import agentbatch
from agentbatch.errors import InputError
from agentbatch.traces.entries import TraceEntry, entry_of_result
from agentbatch.traces.index import TraceIndex, index_path

ROOT = Path(agentbatch.__file__).parents[1]


def ids(entries: object) -> list[str]:
    return [entry.item_id for entry in entries]  # type: ignore[attr-defined]


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    return tmp_path / "r.results.traces.jsonl"


def test_an_item_is_found_with_its_spans(traces: Path) -> None:
    recorder = Recorder()
    trees = [recorder.trace(number, seconds=number) for number in range(1, 30)]
    write_traces(traces, trees)
    with TraceIndex(traces) as index:
        (entry,) = index.of_item("17")
        assert entry == TraceEntry(
            offset=entry.offset,
            length=entry.length,
            trace_id=trees[16][-1].trace_id,
            item_id="17",
            status="ok",
            start_ns=trees[16][-1].start_ns,
            duration_s=17.0,
            queued_s=0.25,
            cost_usd=0.002,
            error_type=None,
            error_message=None,
        )
        assert [span.span_id for span in index.spans(entry)] == [span.span_id for span in trees[16]]
        assert index.of_trace(entry.trace_id[:9]) == [entry]
        assert index.of_item("30") == []
        assert len(index) == 29
    assert index_path(traces) == traces.with_name("r.results.traces.index")


def test_lists(traces: Path) -> None:
    recorder = Recorder()
    seconds = {"a": 3.0, "b": 9.0, "c": 1.0, "d": 5.0}
    write_traces(traces, [recorder.trace(name, seconds=took) for name, took in seconds.items()])
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a", "b", "c", "d"]
        assert ids(index.newest(2)) == ["c", "d"]
        assert ids(index.newest(9)) == ["a", "b", "c", "d"]
        assert ids(index.slowest(2)) == ["b", "d"]


def test_what_failed_counts_once_and_not_if_a_later_stay_mended_it(traces: Path) -> None:
    recorder = Recorder()
    write_traces(
        traces,
        [
            recorder.trace("mended", "error"),
            recorder.trace("twice", "error", error=("auth", "no")),
            recorder.trace("mended"),
            recorder.trace("twice", "error"),
            recorder.trace("late", "timeout", error=("timeout", "too slow")),
            recorder.trace("left", "error"),
            recorder.trace("left", stopped=True),
            recorder.trace("never", stopped=True),
            recorder.trace("out", "skipped"),
        ],
    )
    with TraceIndex(traces) as index:
        assert ids(index.failed()) == ["twice", "late", "left"]
        assert ids(index.failed(2)) == ["late", "left"]
        assert index.failures() == 3
        kinds = [(kind.type, kind.agent, kind.count, kind.example.item_id) for kind in index.errors()]
        assert kinds == [("server", "writer", 2, "twice"), ("timeout", "writer", 1, "late")]
        assert [entry.status for entry in index.of_item("left")] == ["error", "stopped"]


def test_the_lines_that_hold_a_text_are_found(traces: Path) -> None:
    recorder = Recorder()
    write_traces(traces, [recorder.trace(number, request_id=f"req-{number}") for number in range(50)])
    with TraceIndex(traces) as index:
        assert ids(index.holding("req-7")) == ["7"]
        assert ids(index.holding("req-")) == []


def test_who_asked_is_told_before_an_index_is_made(traces: Path) -> None:
    write_traces(traces, [Recorder().trace("a")])
    told: list[int] = []
    for _ in range(2):
        TraceIndex(traces, on_making=told.append).close()
    assert told == [traces.stat().st_size]


def test_a_fresh_index_is_used_as_it_is(traces: Path) -> None:
    write_traces(traces, [Recorder().trace("a")])
    TraceIndex(traces).close()
    before = index_path(traces).stat()
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a"]
    after = index_path(traces).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_index_grows_with_its_traces(traces: Path) -> None:
    recorder = Recorder()
    write_traces(traces, [recorder.trace(number) for number in range(100)])
    TraceIndex(traces).close()
    inode = index_path(traces).stat().st_ino
    write_traces(traces, [recorder.trace("new", "error")], append=True)
    with TraceIndex(traces) as index:
        assert len(index) == 101
        assert ids(index.failed()) == ["new"]
    assert index_path(traces).stat().st_ino == inode, "it was made anew instead of being extended"


def test_a_line_that_is_being_written_waits_for_its_end(traces: Path) -> None:
    recorder = Recorder()
    write_traces(traces, [recorder.trace("a"), recorder.trace("b")])
    whole = traces.read_bytes()
    traces.write_bytes(whole[:-100])
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a"]
    traces.write_bytes(whole)
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a", "b"]


@pytest.mark.parametrize("how", ["replaced", "longer", "as long", "cut"])
def test_an_index_of_other_traces_is_made_anew(traces: Path, how: str) -> None:
    write_traces(traces, [Recorder(1).trace("a"), Recorder(2).trace("b")])
    TraceIndex(traces).close()
    if how == "replaced":
        write_traces(traces.with_name("new"), [Recorder(3).trace("c")])
        os.replace(traces.with_name("new"), traces)
    elif how == "longer":  # emptied and filled again, as --overwrite does with --traces
        write_traces(traces, [Recorder(seed).trace("c") for seed in (3, 4, 5)])
    elif how == "as long":
        size = traces.stat().st_size
        write_traces(traces, [Recorder(3).trace("c"), Recorder(4).trace("d")])
        assert traces.stat().st_size == size
        os.utime(traces, ns=(1, 1))
    else:
        write_traces(traces, [Recorder(1).trace("c")])
    with TraceIndex(traces) as index:
        assert "a" not in ids(index.newest())
        assert "c" in ids(index.newest())


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(500)])
def test_a_damaged_index_is_made_anew(traces: Path, content: bytes) -> None:
    write_traces(traces, [Recorder().trace("a")])
    index_path(traces).write_bytes(content)
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a"]
    with sqlite3.connect(index_path(traces)) as db:
        assert db.execute("SELECT count(*) FROM traces").fetchone() == (1,)
    db.close()


def test_an_index_of_another_version_is_made_anew(traces: Path) -> None:
    write_traces(traces, [Recorder().trace("a")])
    TraceIndex(traces).close()
    with sqlite3.connect(index_path(traces)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("DELETE FROM traces")
    db.close()
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a"]


def test_where_nothing_can_be_written_there_is_no_index(traces: Path) -> None:
    write_traces(traces, [Recorder().trace("a")])
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from agentbatch.traces.index import TraceIndex\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with TraceIndex(Path(sys.argv[1])) as index: sys.stderr.write(f'{len(index)}')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, str(traces)]
    done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr == "1"
    assert os.listdir(traces.parent) == [traces.name]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_left_as_it_is(traces: Path) -> None:
    write_traces(traces, [Recorder().trace("a")])
    traces.parent.chmod(0o555)
    try:
        with TraceIndex(traces) as index:
            assert ids(index.newest()) == ["a"]
        assert os.listdir(traces.parent) == [traces.name]
    finally:
        traces.parent.chmod(0o755)


def test_an_index_that_another_process_is_writing_is_not_waited_for_forever(traces: Path) -> None:
    recorder = Recorder()
    write_traces(traces, [recorder.trace("a")])
    TraceIndex(traces).close()
    write_traces(traces, [recorder.trace("b")], append=True)
    holder = sqlite3.connect(index_path(traces), isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, holder.execute, ["ROLLBACK"])
    release.start()
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a", "b"]
    release.join()
    holder.close()


def test_foreign_and_torn_lines_are_passed_over(traces: Path) -> None:
    recorder = Recorder()
    write_traces(traces, [recorder.trace("a")])
    with traces.open("ab") as file:
        file.write(b'{"resourceSpans":[{"torn\n{}\n[]\nnull\n\n{"traceId":}]}]}]}\n')
    write_traces(traces, [recorder.trace("b")], append=True)
    with TraceIndex(traces) as index:
        assert ids(index.newest()) == ["a", "b"]


def test_text_that_looks_like_a_span_misleads_nobody(traces: Path) -> None:
    hostile = '{"traceId":"0","parentSpanId":"","attributes":[]}]}]}]}\n'
    write_traces(traces, [Recorder().trace(hostile, "error", error=("server", hostile))])
    with TraceIndex(traces) as index:
        (entry,) = index.newest()
        assert (entry.item_id, entry.error_message) == (hostile, hostile)


def test_traces_that_another_program_wrote_are_read_too(traces: Path) -> None:
    import json

    write_traces(traces, [Recorder().trace("a", "error")])
    document = json.loads(traces.read_bytes())
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].reverse()
    traces.write_text(json.dumps(document, indent=None, separators=(", ", ": ")) + "\n")
    with TraceIndex(traces) as index:
        (entry,) = index.newest()
    assert (entry.item_id, entry.status, entry.error_type, entry.duration_s) == ("a", "error", "server", 1.0)


def test_results_can_be_indexed_and_leave_nothing_behind(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    results.write_bytes(item_result("a") + item_result("b", 1, "error") + b'{"id": "torn')
    with TraceIndex(results, read=entry_of_result, keep=False) as index:
        assert ids(index.newest()) == ["a", "b"]
        (failed,) = index.failed()
    assert (failed.duration_s, failed.queued_s, failed.start_ns) == (1.0, 0.25, 1_795_252_596_000_000_000)
    assert os.listdir(tmp_path) == ["r.jsonl"]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.jsonl: cannot be read: No such file"):
        TraceIndex(tmp_path / "no.jsonl")


@pytest.mark.slow
def test_one_item_of_many_is_found_at_once(tmp_path: Path) -> None:
    number = 200_000
    if shutil.disk_usage(tmp_path).free < 2_000_000_000:
        pytest.skip("no room for the traces")
    traces = tmp_path / "many.traces.jsonl"
    recorder = Recorder()
    write_traces(traces, (recorder.trace(at, request_id=f"req-{at}") for at in range(number)))
    TraceIndex(traces).close()
    started = perf_counter()
    with TraceIndex(traces) as index:
        (entry,) = index.of_item("123456")
        assert len(index.spans(entry)) == 3
    assert perf_counter() - started < 1.0, "the index was not used"
    write_traces(traces, [recorder.trace("last")], append=True)
    started = perf_counter()
    with TraceIndex(traces) as index:
        assert ids(index.newest(1)) == ["last"]
    assert perf_counter() - started < 1.0, "the index was made anew"
