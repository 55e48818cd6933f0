import json
import os
import subprocess
import sys
from pathlib import Path

from agentbatch.files.lock import OutputLock, read_holder


def test_who_holds_an_output_and_what_for(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    assert read_holder(output) is None
    with OutputLock(output) as lock:
        first = read_holder(output)
        assert first is not None
        assert first.pid == os.getpid()
        lock.tell(total=7, inputs="in.jsonl", pid="no pid")
        holder = read_holder(output)
        assert holder == first
        assert (holder.facts["total"], holder.facts["inputs"]) == (7, "in.jsonl")
        lock.tell()
        assert "total" not in json.loads(lock.path.read_text())
    assert read_holder(output) is None


def test_looking_hinders_no_run(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    with OutputLock(output):
        pass
    read_holder(output)
    assert not OutputLock(output).path.exists()
    with OutputLock(output):
        read_holder(output)
        assert read_holder(output) is not None


def test_the_dead_hold_nothing(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    code = (
        "import sys; from pathlib import Path; from agentbatch.files.lock import OutputLock\n"
        "OutputLock(Path(sys.argv[1])).acquire(); print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdout.readline()
        holder = read_holder(output)
        assert holder is not None
        assert holder.pid == process.pid
        process.kill()
        process.stdout.read()  # to the end: it is dead, and not yet waited for
        while read_holder(output) is not None:
            os.sched_yield()
        process.wait()
    assert OutputLock(output).path.exists()
    assert read_holder(output) is None


def test_a_file_that_says_nothing(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    lock = OutputLock(output).path
    for text in ("", "no json", "[]", '{"pid": "x"}', '{"pid": 4194304999}'):
        lock.write_text(text)
        holder = read_holder(output)
        assert holder is None or holder.host == "None"


def test_a_run_on_another_host_holds_it_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    lock = OutputLock(output).path
    lock.write_text('{"pid": 1, "host": "another", "started_at": "then"}')
    holder = read_holder(output)
    assert holder is not None
    assert (holder.pid, holder.host, holder.started_at) == (1, "another", "then")
