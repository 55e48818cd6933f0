"""The event stream: whole, in order, and never in the way of the run."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentbatch.batch import run_to_end
from agentbatch.config import load
from agentbatch.errors import OutputError, UsageError
from agentbatch.events import EventFile
from agentbatch.inputs import Selection
from agentbatch.process.event_loop import run_loop
from agentbatch.results.files import ResultFiles
from agentbatch.run.options import RunOptions
from agentbatch.summary import Summary
from agentbatch.trace import Tracer

ROOT = Path(__file__).parents[1]
Event = dict[str, Any]

CONFIG: dict[str, Any] = {
    "version": 1,
    "models": {
        "m": {"provider": "mock", "price": {"input": 1, "output": 2}, "output": {"score": 0.5}},
        "flaky": {"provider": "mock", "errors": {"server": 0.5}, "seed": 1, "retries": 30},
        "broken": {"provider": "mock", "errors": {"bad_request": 1.0}},
    },
    "agents": {
        "writer": {"model": "m", "prompt": "Write {{ input.topic }}"},
        "critic": {
            "model": "m",
            "prompt": "Review {{ writer.output }}",
            "output_schema": {"type": "object", "properties": {"score": {"type": "number"}}},
        },
        "seo": {"model": "m", "prompt": "Keywords {{ input.topic }}"},
        "legal": {"model": "broken", "prompt": "Check {{ input.topic }}", "fallback": ["writer"]},
        "off": {"model": "m", "prompt": "Nothing", "when": "false"},
        "failing": {"model": "broken", "prompt": "{{ input.topic }}", "when": "input.topic == 't3'"},
    },
    "groups": {
        "refine": {"loop": ["writer", "critic"], "until": "critic.output.score > 0.8", "max_iterations": 2},
        "panel": {"parallel": ["seo", "legal", {"agent": "writer", "copies": 2}]},
    },
    "workflow": ["refine", "panel", "off", "failing"],
}


def written(folder: Path, items: int = 10, **sections: Any) -> Path:
    """A config and its inputs."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **sections}, sort_keys=False))
    lines = (json.dumps({"id": f"i{number}", "topic": f"t{number}"}) + "\n" for number in range(items))
    (folder / "in.jsonl").write_text("".join(lines))
    return path


def run(folder: Path, config: Path, events: str, **options: Any) -> Summary:
    files = ResultFiles(folder / "out.results.jsonl")
    return run_loop(run_to_end(load(config), RunOptions(str(folder / "in.jsonl"), files, events=events, **options)))


def read(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def of(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event["event"] == name]


def assert_whole(events: list[Event]) -> None:
    """What has a beginning has an end after it; what works has begun; what is inside something is inside in time."""
    at: dict[tuple[str, str], int] = {}
    for place, event in enumerate(events):
        word = event["event"].partition(".")[2]
        assert (event["id"], word) not in at, "said twice"
        at[event["id"], word] = place
    for id_, word in list(at):
        assert at[id_, "started"] <= at[id_, word] <= at[id_, "ended"]
    for event in events:
        if event["parent"] is not None:
            assert at[event["parent"], "started"] < at[event["id"], "started"]
            assert at[event["id"], "ended"] < at[event["parent"], "ended"]


def test_everything_of_a_run_begins_and_ends_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    summary = run(tmp_path, written(tmp_path), str(path))
    events = read(path)
    assert_whole(events)
    assert [event["event"] for event in (events[0], events[-1])] == ["run.started", "run.ended"]
    nouns = Counter(event["event"] for event in events)
    assert nouns["item.started"] == nouns["item.ended"] == nouns["item.working"] == 10
    assert nouns["iteration.started"] == 20
    assert nouns["group.started"] == 20
    # per item: writer and critic twice, seo, legal and writer in its place, two copies of writer, off, failing
    assert nouns["agent.started"] == 10 * 11
    assert nouns["attempt.ended"] == summary.calls
    assert {event["version"] for event in events} == {1}
    times = [event["time"] for event in events]
    assert all(len(time) == len("2026-11-21T07:00:00.123456Z") and time.endswith("Z") for time in times)


def test_events_name_their_item_and_path_as_results_and_traces_do(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    run(tmp_path, written(tmp_path), str(path))
    events = read(path)
    results = {line["id"]: line for line in read(tmp_path / "out.results.jsonl")}
    for item in of(events, "item.ended"):
        line = results[item["item"]["id"]]
        assert (item["item"]["index"], item["trace_id"], item["status"]) == (
            line["index"],
            line["trace_id"],
            line["status"],
        )
        assert item["usage"] == line["usage"]
        assert item["cost_usd"] == pytest.approx(line["cost_usd"])
        inside = [event for event in events if event["trace_id"] == item["trace_id"]]
        assert {json.dumps(event["item"]) for event in inside} == {json.dumps(item["item"])}
        paths = {event["path"] for event in inside if event["event"] == "agent.started"}
        assert paths == {name for name, step in line["agents"].items() if step.get("kind") is None}
        for event in inside:
            if event["event"] == "agent.ended":
                step = line["agents"][event["path"]]
                assert (event["status"], event["usage"]) == (step["status"], step["usage"])
                assert event["duration_s"] == pytest.approx(step["duration_s"], abs=0.05)


def test_failures_say_why(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    agents = {**CONFIG["agents"], "seo": {**CONFIG["agents"]["seo"], "model": "flaky"}}
    run(tmp_path, written(tmp_path, items=4, agents=agents), str(path))
    events = read(path)
    (failed,) = [event for event in of(events, "item.ended") if event["status"] == "error"]
    assert failed["item"] == {"id": "i3", "index": 3}
    assert failed["error"]["type"] == "bad_request"
    refused = [event for event in of(events, "attempt.ended") if event["error"]]
    assert {event["error"]["type"] for event in refused} == {"server", "bad_request"}
    assert {event["http_status"] for event in refused} >= {400}
    assert {event["cost_usd"] for event in refused} == {0.0}
    assert max(event["attempt"] for event in of(events, "attempt.started")) > 1
    assert {event["status"] for event in of(events, "agent.ended") if event["name"] == "off"} == {"skipped"}


def test_the_run_tells_its_totals(tmp_path: Path) -> None:
    config = written(tmp_path)
    run(tmp_path, config, str(tmp_path / "first.jsonl"), selection=Selection(limit=4))
    path = tmp_path / "events.jsonl"
    summary = run(tmp_path, config, str(path))
    first, last = read(path)[0], read(path)[-1]
    assert (first["config"], first["inputs"]) == (str(config), str(tmp_path / "in.jsonl"))
    assert (first["total"], first["before"]) == (10, 4)
    assert (last["status"], last["exit_code"], last["id"]) == (summary.verdict, summary.exit_code, first["id"])
    assert (last["counts"], last["remaining"], last["dropped"]) == (summary.counts, 0, 0)
    assert last["usage"]["requests"] == summary.calls
    assert (first["trace_id"], first["item"], first["parent"]) == (None, None, None)


def test_a_bad_line_is_an_item_that_begins_and_ends(tmp_path: Path) -> None:
    config = written(tmp_path, items=1)
    (tmp_path / "in.jsonl").write_text("{broken\n")
    run(tmp_path, config, str(tmp_path / "events.jsonl"))
    events = read(tmp_path / "events.jsonl")
    assert_whole(events)
    assert of(events, "item.ended")[0]["error"]["type"] == "input"


def test_a_continued_run_appends_and_a_fresh_one_begins_anew(tmp_path: Path) -> None:
    config, path = written(tmp_path, items=2), tmp_path / "events.jsonl"
    for overwrite, runs in ((False, 1), (False, 2), (True, 1)):
        run(tmp_path, config, str(path), overwrite=overwrite)
        assert len(of(read(path), "run.ended")) == runs


def test_the_torn_line_of_a_killed_run_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"run.started"}\n{"event":"it')
    run(tmp_path, written(tmp_path, items=1), str(path))
    assert len(of(read(path), "run.started")) == 2


def test_it_goes_into_no_other_file_of_the_run(tmp_path: Path) -> None:
    config = written(tmp_path)
    for name in ("in.jsonl", "config.yaml", "out.results.jsonl", "out.results.run.json"):
        with pytest.raises(UsageError, match="--events"):
            run(tmp_path, config, str(tmp_path / name))
    assert (tmp_path / "in.jsonl").read_text().count("topic") == 10


def test_a_place_that_cannot_be_written_is_said_before_anything_is_paid(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="name another --events"):
        run(tmp_path, written(tmp_path), str(tmp_path / "missing" / "events.jsonl"))
    assert not (tmp_path / "out.results.jsonl").exists() or not (tmp_path / "out.results.jsonl").read_bytes()


# the stream alone


def some_spans(events: EventFile, items: int) -> None:
    """Each item begins, has one agent inside, and ends: four events."""
    tracer = Tracer([events])
    for number in range(items):
        root = tracer.start("item", "item", attributes={"item.id": number, "item.index": number})
        tracer.end(tracer.start("writer", "agent", root), "error", "server", "secret-of-a-key")
        tracer.end(root)


def begin(path: Path | str, **options: Any) -> EventFile:
    events = EventFile(str(path), **options)
    events.start(config="c.yaml", inputs="in.jsonl", total=None, before=0)
    return events


def test_a_run_that_breaks_off_says_so(tmp_path: Path) -> None:
    events = begin(tmp_path / "e.jsonl")
    some_spans(events, 1)
    events.abort(ValueError("a bug"))
    assert_whole(read(tmp_path / "e.jsonl"))
    last = read(tmp_path / "e.jsonl")[-1]
    assert (last["status"], last["error"]) == ("error", {"type": "ValueError", "message": "a bug"})


def test_secrets_do_not_get_out(tmp_path: Path) -> None:
    events = begin(tmp_path / "e.jsonl", redact=lambda line: line.replace(b"secret-of-a-key", b"[redacted]"))
    some_spans(events, 1)
    events.abort(ValueError("secret-of-a-key"))
    text = (tmp_path / "e.jsonl").read_text()
    assert "secret" not in text and text.count("[redacted]") == 2


def test_a_full_disk_loses_events_and_counts_them() -> None:
    events = begin("/dev/full")
    some_spans(events, 10)
    events.drain()
    assert events.note == "41 events are not in /dev/full: No space left on device"
    events.abort(ValueError())


def test_beyond_the_bound_events_are_dropped_and_the_end_is_not(tmp_path: Path) -> None:
    events = begin(tmp_path / "e.jsonl", max_waiting=5, period=3600)
    some_spans(events, 8)
    events.drain()
    assert events.note == "28 events are not in " + str(tmp_path / "e.jsonl") + ": busy"
    events.abort(ValueError())
    assert [event["event"] for event in read(tmp_path / "e.jsonl")][-1] == "run.ended"
    assert read(tmp_path / "e.jsonl")[-1]["dropped"] == 28


def test_a_named_pipe_may_get_its_reader_late(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    events = begin(fifo, period=0.001)
    some_spans(events, 3)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    while events.note is not None:
        events.drain()
    events.abort(ValueError())
    reader.join(20)
    assert_whole([json.loads(line) for line in found[0].splitlines()])


def test_a_named_pipe_without_a_reader_holds_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    events = begin(tmp_path / "pipe", period=0.001)
    some_spans(events, 3)
    events.drain()
    assert events.note is not None and events.note.endswith("nobody reads it")
    events.abort(ValueError())


def test_a_reader_that_sleeps_holds_up_nothing(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    events = begin(fifo, period=0.001, max_waiting=1000)
    some_spans(events, 3000)  # far more than a pipe holds
    events.abort(ValueError())
    assert events.note is not None and "its reader does not read" in events.note
    os.set_blocking(reader, True)
    while any(thread.name == "event stream" for thread in threading.enumerate()):
        os.read(reader, 1 << 16)
    os.close(reader)


# whole processes


def command(folder: Path, config: Path, *options: str) -> list[str]:
    files = [str(config), str(folder / "in.jsonl"), "-o", str(folder / "out.results.jsonl")]
    return [sys.executable, "-m", "agentbatch", "run", *files, "--progress", "none", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_reader_that_leaves_does_not_break_the_run(tmp_path: Path) -> None:
    config = written(tmp_path, items=400)
    process = subprocess.Popen(
        command(tmp_path, config, "--events", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["event"] == "run.started"
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 1, said  # one item fails, as its config says
    assert len(read(tmp_path / "out.results.jsonl")) == 400
    assert "events are not in stdout: its reader has gone" in " ".join(said.split())
    assert "Traceback" not in said


def test_everything_ends_on_ctrl_c(tmp_path: Path) -> None:
    models = {name: {"provider": "mock", "latency": "60s"} for name in CONFIG["models"]}
    config = written(tmp_path, models=models, workflow=["panel"], limits={"max_concurrency": 5})
    process = subprocess.Popen(
        command(tmp_path, config, "--events", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        events: list[Event] = []
        while len(of(events, "attempt.started")) < 5 * 4:
            events.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # the second one does not wait for what is in flight
        events += [json.loads(line) for line in process.stdout]
        process.stderr.read()
    assert process.returncode in (130, 143)
    assert_whole(events)
    assert {event["status"] for event in of(events, "item.ended")} == {"stopped"}
    assert {event["status"] for event in of(events, "attempt.ended")} == {"cancelled"}
    assert events[-1]["status"] == "interrupted"
    assert events[-1]["error"]["message"].startswith("SIG")


@pytest.mark.parametrize("other", [["--json"], ["-o", "-"]])
def test_stdout_takes_one_stream(tmp_path: Path, other: list[str]) -> None:
    config = written(tmp_path)
    done = subprocess.run(
        [*command(tmp_path, config, "--events", "-"), *other], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "would both write to stdout" in done.stderr
