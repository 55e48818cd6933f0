"""What it costs that agents work together: mock agents, so that nothing but the machinery takes time.

- `flow-overhead`: items through ten calls in a nested mix of all kinds of groups, beside bare calls of the same mock
  model, and beside one agent inside more and fewer groups.
- `flow-parallel`: items of three agents at once, 200 ms each.
- `page-search`: five searches of 5 s in one graph, from configs/page-search.yaml.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from measure import HERE, Run, agentbatch, run_process
from outcome import Goal, Outcome, at_most, figure, middle, run_figures
from workload import write_inputs

_PROMPT = '"Describe {{ input.product }} for {{ input.market }}."'

_MIX = f"""\
version: 1
models: {{bench: {{provider: mock, latency: 0s}}}}
agents:
  first: {{model: bench, prompt: {_PROMPT}}}
  left: {{model: bench, prompt: "{{{{ first.output }}}}"}}
  right: {{model: bench, prompt: "{{{{ first.output }}}}"}}
  bug: {{model: bench, prompt: "{{{{ pair.output }}}}"}}
  other: {{model: bench, prompt: "{{{{ pair.output }}}}"}}
  near: {{model: bench, prompt: {_PROMPT}}}
  far: {{model: bench, prompt: {_PROMPT}}}
  again: {{model: bench, prompt: "{{{{ loop.index }}}} {{{{ first.output }}}}"}}
  page: {{model: bench, prompt: "{{{{ each.value }}}} {{{{ each.index }}}}", for_each: "[input.product, input.market]"}}
  last: {{model: bench, prompt: "{{{{ way.output }}}} {{{{ twice.output }}}}", fallback: [other]}}
groups:
  pair: {{parallel: [left, right]}}
  way: {{route: "'bug' if input.product else 'other'", cases: {{bug: bug, other: other}}}}
  place: {{when: "input.market | length > 9", then: far, else: near}}
  twice: {{loop: [again], max_iterations: 2}}
  middle: {{graph: [way, place, twice, page]}}
  ending: {{sequence: [middle, last]}}
workflow: [first, pair, ending]
"""
"""Ten calls an item: first, left, right, bug, near, again twice, page twice, last."""

_CALLS = 10

_THREE = f"""\
version: 1
models: {{bench: {{provider: mock, latency: 200ms, max_concurrency: 600}}}}
agents:
  one: {{model: bench, prompt: {_PROMPT}}}
  two: {{model: bench, prompt: {_PROMPT}}}
  three: {{model: bench, prompt: {_PROMPT}}}
groups: {{experts: {{parallel: [one, two, three]}}}}
workflow: experts
"""


def nested(depth: int) -> str:
    """A config of one agent inside so many groups."""
    groups = [
        f"  g{level}: {{sequence: [{f'g{level + 1}' if level < depth else 'writer'}]}}" for level in range(1, depth + 1)
    ]
    model = "models: {bench: {provider: mock, latency: 0s}}"
    head = f"version: 1\n{model}\nagents:\n  writer: {{model: bench, prompt: {_PROMPT}}}\n"
    return head + "groups:\n" + "\n".join(groups) + "\nworkflow: g1\n"


def measure_overhead(items: int, runs: int, folder: Path) -> Outcome:
    """CPU of whole processes, less that of a process with one item; beside bare calls of the model."""
    outcome = Outcome("flow-overhead", f"{items:,} items of {_CALLS} mock calls in a nested mix of all groups")
    configs = {"mix": _MIX, **{f"depth {depth}": nested(depth) for depth in (1, 8, 16)}}
    measured: dict[str, list[Run]] = {name: [] for name in configs}
    costs: dict[str, list[float]] = {name: [] for name in configs}
    bare: list[float] = []
    for _ in range(runs):
        for name, config in configs.items():
            one, all_ = _run(config, 1, folder), _run(config, items, folder)
            measured[name].append(all_)
            costs[name].append((all_.cpu - one.cpu) / (items - 1) * 1e6)
        bare.append(_bare_call_us(items * _CALLS, folder))
    cost = {name: middle(each) or 0.0 for name, each in costs.items()}
    model = middle(bare) or 0.0
    outcome.rows = [("median of runs", "us CPU/item", "us CPU/call", "RSS MB")]
    outcome.rows += [_row(name, cost[name], _CALLS if name == "mix" else 1, measured[name]) for name in configs]
    outcome.rows.append(("bare call of the mock model", "", figure(model, 1), ""))
    shallow, deep = (cost["depth 8"] - cost["depth 1"]) / 7, (cost["depth 16"] - cost["depth 8"]) / 8
    alone = cost["mix"] / _CALLS - cost["depth 1"]
    outcome.goals = [
        at_most("<= 60 us CPU/call beyond the bare model's, all in", cost["mix"] / _CALLS - model, 60, " us"),
        at_most("<= 60 us CPU/call beyond that of an item of one agent", alone, 60, " us"),
        Goal("a level of nesting, of 1 to 8 and of 8 to 16", f"{shallow:.1f} us, {deep:.1f} us", None),
    ]
    outcome.notes = _failures(measured)
    outcome.figures = {"us_per_item": cost, "bare_us_per_call": model}
    return outcome


def measure_parallel(items: int, runs: int, folder: Path) -> Outcome:
    """Work: from the first item's beginning to the last one's end, as the results say."""
    ideal = items * 3 / 600 * 0.2
    title = f"{items:,} items of 3 agents at once, 200 ms each, 600 in flight (ideal {ideal:.2f} s)"
    outcome = Outcome("flow-parallel", title)
    measured: list[Run] = []
    work: list[float] = []
    for _ in range(runs):
        measured.append(_run(_THREE, items, folder))
        work.append(_span_of_work(folder / "flow" / "r.jsonl"))
    outcome.rows = [("run", "wall s", "CPU s", "RSS MB", "work s")]
    outcome.rows += [
        (str(n), figure(run.wall), figure(run.cpu), figure(run.rss_mb, 0), figure(each))
        for n, (run, each) in enumerate(zip(measured, work, strict=True), 1)
    ]
    outcome.goals = [at_most(f"work <= {1.3 * ideal:.2g} s", middle(work), 1.3 * ideal, " s")]
    outcome.notes = _failures({"three": measured})
    outcome.figures = {"work_s": work, "runs": [run_figures(run) for run in measured]}
    return outcome


def _span_of_work(results: Path) -> float:
    """Seconds from the first item's beginning to the last one's end."""
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    began = [datetime.fromisoformat(line["started_at"]).timestamp() for line in lines]
    ended = [start + line["queued_s"] + line["duration_s"] for start, line in zip(began, lines, strict=True)]
    return max(ended) - min(began)


def measure_page_search(runs: int, folder: Path) -> Outcome:
    """Work: how long the graph was at work for the slowest item, as the results say."""
    outcome = Outcome("page-search", "six questions of five searches of 5 s each (one after another 25 s)")
    repository = HERE.parent.parent
    questions = repository / "samples" / "page-questions.jsonl"
    command = agentbatch("run", str(repository / "configs" / "page-search.yaml"), str(questions), "-o", "results.jsonl")
    measured: list[Run] = []
    work: list[float] = []
    for _ in range(runs):
        shutil.rmtree(folder / "pages", ignore_errors=True)
        measured.append(run_process(command, folder / "pages"))
        lines = (folder / "pages" / "results.jsonl").read_text("utf-8").splitlines()
        work.append(max(json.loads(line)["duration_s"] for line in lines))
    outcome.rows = [("run", "wall s", "CPU s", "work s")]
    outcome.rows += [
        (str(n), figure(run.wall), figure(run.cpu), figure(each, 3))
        for n, (run, each) in enumerate(zip(measured, work, strict=True), 1)
    ]
    outcome.goals = [at_most("work <= 5.02 s", middle(work), 5.02, " s")]
    outcome.notes = _failures({"pages": measured})
    outcome.figures = {"work_s": work, "runs": [run_figures(run) for run in measured]}
    return outcome


def _run(config: str, items: int, folder: Path) -> Run:
    shutil.rmtree(folder / "flow", ignore_errors=True)
    (folder / "flow").mkdir(parents=True)
    (folder / "flow" / "config.yaml").write_text(config)
    return run_process(
        agentbatch("run", "config.yaml", str(write_inputs(folder, items)), "-o", "r.jsonl"), folder / "flow"
    )


def _bare_call_us(calls: int, folder: Path) -> float:
    command = [sys.executable, str(HERE / "bare_mock.py"), str(calls)]
    return float(run_process(command, folder / "bare").output)


def _row(name: str, us: float, calls: int, runs: list[Run]) -> tuple[str, ...]:
    return (name, figure(us, 0), figure(us / calls, 1), figure(middle(run.rss_mb for run in runs), 0))


def _failures(measured: Mapping[str, list[Run]]) -> list[str]:
    return [
        f"{name}: exit code {run.exit_code}: ...{run.output[-400:]}"
        for name, runs in measured.items()
        for run in runs
        if run.exit_code
    ]
