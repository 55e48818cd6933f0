"""What it costs to be watched: the trace file, the live table, spans over OTLP; and how long looking back takes.

The runs are as fast as the machine allows (a local server that answers at once), so that every microsecond of watching
shows. The live table is measured in a run that waits for its answers, as a share of a core.
"""

from __future__ import annotations

import json
import os
import pty
import random
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from measure import Run, agentbatch, run_process, serving
from outcome import Outcome, at_most, figure, middle, ratio, run_figures

FOUR_AGENTS = """\
version: 1
models: {m: MODEL}
agents:
  one: {model: m, prompt: "one {{ input }}"}
  two: {model: m, prompt: "two {{ input }}"}
  three: {model: m, prompt: "three {{ input }}"}
  writer: {model: m, prompt: "Note: {{ one.output }} {{ two.output }} {{ three.output }}"}
groups: {experts: {parallel: [one, two, three]}}
workflow: [experts, writer]
"""


MOCK = "{provider: mock, latency: %s, max_concurrency: 200, output_tokens: 100, price: {input: 1, output: 2}}"
SERVER = "{provider: openai, model: gpt-4o-mini, base_url: '%s', api_key: bench-key, max_concurrency: 200}"


def _written(folder: Path, items: int, model: str) -> list[str]:
    """A config and its inputs; the words of a command that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "c.yaml").write_text(FOUR_AGENTS.replace("MODEL", model))
    (folder / "in.jsonl").write_text("".join(f'"subject {number}"\n' for number in range(items)))
    return ["run", "../c.yaml", "../in.jsonl", "-o", "r.results.jsonl", "--overwrite"]


def measure_watched(items: int, runs: int, folder: Path) -> Outcome:
    """The same run bare, with a trace file, and with spans sent to a collector that throws them away."""
    outcome = Outcome("watched", f"{items:,} items of four agents, answers at once, {runs} times each, in turn")
    with serving(0.0) as server:
        _measure_watched(outcome, _written(folder, items, SERVER % server.url), runs, folder)
    return outcome


def _measure_watched(outcome: Outcome, words: list[str], runs: int, folder: Path) -> None:
    sides = {
        "bare": agentbatch(*words, "--progress", "none", "--no-traces", "--no-otel"),
        "trace file": agentbatch(*words, "--progress", "none", "--no-otel"),
        "trace file, OTLP": agentbatch(*words, "--progress", "none", "--otel"),
    }
    measured: dict[str, list[tuple[Run, float]]] = {name: [] for name in sides}
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the sender is a process of its own
    with _collector() as url:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], os.environ["OTEL_METRICS_EXPORTER"] = url, "none"
        for _ in range(runs):
            for name, command in sides.items():
                run = run_process([*command, "--summary", "s.json"], folder / "run")
                measured[name].append((run, json.loads((folder / "run" / "s.json").read_text())["wall_s"]))
    del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], os.environ["OTEL_METRICS_EXPORTER"]
    outcome.rows = [("median of runs", "wall s of the items", "CPU s, all processes", "noise")]
    walls = {name: middle(wall for _, wall in each) for name, each in measured.items()}
    cpus = {name: middle(run.cpu for run, _ in each) for name, each in measured.items()}
    for name, each in measured.items():
        noise = middle(run.noise for run, _ in each)
        outcome.rows.append((name, figure(walls[name]), figure(cpus[name]), figure(noise)))
    sent = ratio(walls["trace file, OTLP"], walls["trace file"])
    outcome.goals = [
        at_most("trace file <= 1.10 x bare, in CPU", ratio(cpus["trace file"], cpus["bare"]), 1.10, " x"),
        at_most("OTLP <= 1.10 x trace file, in time (the sender's CPU is another core's)", sent, 1.10, " x"),
    ]
    outcome.figures = {"runs": {name: [run_figures(run) for run, _ in each] for name, each in measured.items()}}


@contextmanager
def _collector() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def measure_live_table(items: int, folder: Path) -> Outcome:
    """A run that waits for answers of 100 ms, without a display and with the live table in a pseudo-terminal."""
    outcome = Outcome("live-table", f"{items:,} items of four agents, answers after 100 ms, 200 in flight")
    words = _written(folder, items, MOCK % "100ms")
    bare = run_process(agentbatch(*words, "--progress", "none"), folder / "run")
    live = _in_terminal(agentbatch(*words, "--progress", "live"), folder / "run")
    share = (live.cpu - bare.cpu) / live.wall
    outcome.rows = [("", "wall s", "CPU s"), ("no display", figure(bare.wall), figure(bare.cpu))]
    outcome.rows.append(("live table", figure(live.wall), figure(live.cpu)))
    outcome.goals = [at_most("live table <= 2 % of a core", share * 100, 2.0, " %")]
    outcome.figures = {"runs": {"no display": [run_figures(bare)], "live table": [run_figures(live)]}}
    return outcome


def _in_terminal(command: Sequence[str], folder: Path) -> Run:
    """Run it with a terminal that somebody reads."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    reader = threading.Thread(target=_drain, args=(master,), daemon=True)
    reader.start()
    os.environ["TERM"] = "xterm-256color"
    try:
        return run_process(["sh", "-c", f'exec "$@" 2>{name} >{name}', "sh", *command], folder)
    finally:
        os.close(slave)


def _drain(master: int) -> None:
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        return


def measure_looking_back(items: int, folder: Path) -> Outcome:
    """`report` and `trace` on the files of a large run, made from those of a small one by giving every line new ids."""
    outcome = Outcome("looking-back", f"{items:,} items of four agents")
    run_process(agentbatch(*_written(folder, 300, MOCK % "0"), "--progress", "none"), folder / "run")
    _multiply(folder / "run", items)
    traces = (folder / "run" / "big.results.traces.jsonl").stat().st_size
    report = run_process(agentbatch("report", "big.results.jsonl"), folder / "run")
    index = run_process(agentbatch("trace", "big.results.jsonl", str(items // 2)), folder / "run")
    one = run_process(agentbatch("trace", "big.results.jsonl", str(items // 3)), folder / "run")
    outcome.rows = [("", "wall s", "CPU s", "RSS MB")]
    for name, run in (("report", report), ("trace, no index", index), ("trace, fresh index", one)):
        outcome.rows.append((name, figure(run.wall), figure(run.cpu), figure(run.rss_mb, 0)))
    outcome.goals = [
        at_most("report <= 20 s", report.wall, 20.0, " s"),
        at_most("report <= 500 MB", report.rss_mb, 500.0, " MB"),
        at_most("trace of one item <= 1 s", one.wall, 1.0, " s"),
    ]
    outcome.notes = [f"the trace file has {traces / 1e6:,.0f} MB"]
    outcome.figures = {"runs": {"report": [run_figures(report)], "trace": [run_figures(index), run_figures(one)]}}
    return outcome


def _multiply(folder: Path, items: int) -> None:
    results = (folder / "r.results.jsonl").read_bytes().splitlines(keepends=True)
    lines = {
        _trace_id(line): line for line in (folder / "r.results.traces.jsonl").read_bytes().splitlines(keepends=True)
    }
    with (folder / "big.results.jsonl").open("wb") as out, (folder / "big.results.traces.jsonl").open("wb") as traces:
        for number in range(items):
            line = results[number % len(results)]
            fields = json.loads(line)
            old, new = fields["trace_id"].encode(), f"{random.getrandbits(128):032x}".encode()
            head = b'{"id":"%d","index":%d' % (number + 1, number)
            out.write(re.sub(rb'^\{"id":"[^"]*","index":\d+', head, line, count=1).replace(old, new))
            own_id = b'"agentbatch.item.id","value":{"stringValue":"%s"}'
            trace = lines[old].replace(own_id % fields["id"].encode(), own_id % str(number + 1).encode())
            traces.write(trace.replace(old, new))


def _trace_id(line: bytes) -> bytes:
    found = re.search(rb'"traceId":"([0-9a-f]{32})"', line)
    assert found is not None
    return found[1]
