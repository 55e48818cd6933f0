"""The Python API: the same run as the command's, from a script."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentbatch
from agentbatch import (
    AgentBatchError,
    Config,
    ConfigError,
    InputError,
    LockedError,
    OutputError,
    ResultRecord,
    RunStopped,
    load,
    run_batch,
)

CONFIG = """
version: 1
models: {m: {provider: mock, reply: "{{ prompt }}!", errors: {content_filter: ERRORS}, latency: LATENCY}}
agents: {writer: {model: m, prompt: "{{ input.text }}"}}
limits: {max_concurrency: 4}
"""


def config_of(folder: Path, errors: float = 0, latency: str = "1ms") -> Path:
    path = folder / "config.yaml"
    path.write_text(CONFIG.replace("ERRORS", str(errors)).replace("LATENCY", latency))
    return path


def records(count: int) -> list[dict[str, Any]]:
    return [{"id": f"n{number}", "text": str(number)} for number in range(count)]


async def listed(results: agentbatch.Batch) -> list[ResultRecord]:
    async with asyncio.timeout(60):
        return [result async for result in results]


async def test_a_result_is_yielded_for_every_record(tmp_path: Path):
    run = run_batch(load(config_of(tmp_path)), records(30))
    results = await listed(run)
    assert {result.id: result.output for result in results} == {f"n{n}": f"{n}!" for n in range(30)}
    first = next(result for result in results if result.index == 0)
    assert (first.ok, first.error, first.usage.requests, first.cost_usd) == (True, None, 1, 0.0)
    assert first.agents["writer"]["output"] == "0!"
    assert first.line["trace_id"] == first.trace_id
    assert run.summary.verdict == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "nothing is kept on disk"


async def test_what_is_yielded_is_what_stands_in_the_file(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    results = await listed(run_batch(config_of(tmp_path), records(20), output=output, traces=tmp_path / "t.jsonl"))
    assert [result.line for result in results] == [json.loads(line) for line in output.read_text().splitlines()]
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 20


async def test_lines_of_another_format_are_the_same_records(tmp_path: Path):
    run = run_batch(config_of(tmp_path), records(2), output_format="openai-batch")
    results = await listed(run)
    assert sorted((result.id, result.output) for result in results) == [("n0", "0!"), ("n1", "1!")]


async def test_the_same_run_goes_on_where_it_ended(tmp_path: Path):
    config, output = config_of(tmp_path), tmp_path / "out.jsonl"
    assert len(await listed(run_batch(config, records(9), output=output, limit=4))) == 4
    run = run_batch(config, records(9), output=output)
    assert len(await listed(run)) == 5
    assert run.summary.before == {"ok": 4}
    with pytest.raises(InputError, match="the inputs changed"):
        await listed(run_batch(config, records(10), output=output))


async def test_inputs_may_be_a_file_or_a_generator(tmp_path: Path):
    config, inputs = config_of(tmp_path), tmp_path / "in.jsonl"
    inputs.write_text("".join(json.dumps(each) + "\n" for each in records(3)))
    by_file = await listed(run_batch(config, inputs))
    by_generator = await listed(run_batch(config, iter(records(3))))
    assert sorted(r.id for r in by_file) == sorted(r.id for r in by_generator) == ["n0", "n1", "n2"]


async def test_a_generator_is_compared_with_its_copy_when_a_run_is_continued(tmp_path: Path):
    config, output = config_of(tmp_path), tmp_path / "out.jsonl"
    await listed(run_batch(config, iter(records(4)), output=output, limit=2))
    assert len(await listed(run_batch(config, iter(records(4)), output=output))) == 2
    with pytest.raises(InputError, match="differs from what the run to continue has read"):
        await listed(run_batch(config, iter(records(5)[1:]), output=output))


async def test_records_that_cannot_be_items_are_results_of_type_input(tmp_path: Path):
    results = await listed(run_batch(config_of(tmp_path), [{"text": "a"}, {"id": 1.5, "text": "b"}, {"other": 1}]))
    errors = {result.index: result.error for result in results}
    assert errors[0] is None
    assert errors[1] is not None and errors[1].type == "input" and "inputs:2: `id` must be" in errors[1].message
    assert errors[2] is not None and "inputs:3: " in errors[2].message


async def test_failures_are_results(tmp_path: Path):
    run = run_batch(config_of(tmp_path, errors=1), records(3))
    results = await listed(run)
    assert [(r.status, r.error and r.error.type) for r in results] == [("error", "content_filter")] * 3
    assert run.summary.exit_code == 1


async def test_leaving_the_loop_stops_the_run_and_closes_everything(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    before = asyncio.all_tasks()
    async with run_batch(config_of(tmp_path, latency="20ms"), records(5000), output=output) as run:
        async for _ in run:
            break
    assert asyncio.all_tasks() == before
    assert run.summary.stop_reason == "the program left the run"
    done = len(output.read_text().splitlines())
    assert done < 2000
    rest = run_batch(config_of(tmp_path, latency="1ms"), records(5000), output=output)
    assert len(await listed(rest)) == 5000 - done, "the lock is free, and what was done is known"


async def test_an_exception_in_the_loop_stops_the_run_too(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        async with run_batch(config_of(tmp_path), records(1000)) as run:
            async for _ in run:
                raise ZeroDivisionError
    assert run.summary.verdict == "stopped"


def test_a_plain_loop_needs_no_asyncio(tmp_path: Path):
    run = run_batch(config_of(tmp_path), records(25))
    assert sorted(result.index for result in run) == list(range(25))
    assert run.summary.counts["ok"] == 25
    assert not [thread for thread in threading.enumerate() if thread.name in ("batch run", "result writer")]


def test_leaving_a_plain_loop_stops_the_run(tmp_path: Path):
    before = set(threading.enumerate())
    run = run_batch(config_of(tmp_path, latency="20ms"), ({"text": str(n)} for n in range(10**9)))
    for _ in run:
        break
    assert run.summary.stop_reason == "the program left the run"
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


async def test_a_slow_program_holds_the_run_back(tmp_path: Path):
    taken = 0

    def source() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for number in range(20_000):
            taken += 1
            yield {"text": str(number)}

    async with run_batch(config_of(tmp_path, latency="0.0001"), source()) as run:
        async for _ in run:
            for _ in range(3000):  # turns of the loop, in which a run that nobody held back would go on
                await asyncio.sleep(0)
            if taken > 1100:
                break
        for _ in range(3000):
            await asyncio.sleep(0)
        assert taken < 5000


async def test_a_limit_that_ends_the_run_is_raised_after_the_results(tmp_path: Path):
    results: list[ResultRecord] = []
    with pytest.raises(RunStopped, match="fail"):
        async for result in run_batch(config_of(tmp_path, errors=1), records(500), fail_fast=True):
            results.append(result)
    assert results


async def test_errors_are_raised_where_they_happen(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        run_batch(tmp_path / "none.yaml", [])
    config = config_of(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        await listed(run_batch(config, tmp_path / "none.jsonl"))
    with pytest.raises(OutputError, match="folder does not exist"):
        await listed(run_batch(config, records(1), output=tmp_path / "no" / "out.jsonl"))
    run = run_batch(config, records(1))
    with pytest.raises(AgentBatchError, match="has no summary yet"):
        _ = run.summary
    await listed(run)
    with pytest.raises(AgentBatchError, match="iterated over once"):
        aiter(run)


def test_errors_reach_a_plain_loop(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        list(run_batch(config_of(tmp_path), tmp_path / "none.jsonl"))


async def test_two_runs_of_one_output_are_refused(tmp_path: Path):
    config, output = config_of(tmp_path), tmp_path / "out.jsonl"
    async with run_batch(config, records(2000), output=output) as run:
        async for _ in run:
            with pytest.raises(LockedError):
                await listed(run_batch(config, records(2000), output=output))
            break


async def test_nothing_of_the_process_is_taken(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), root.level, list(root.handlers)
    seen: list[Any] = []
    async for _ in run_batch(config_of(tmp_path), records(3)):
        now = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), root.level, list(root.handlers)
        seen.append(now == before)
    assert seen == [True] * 3
    assert capfd.readouterr() == ("", "")


async def test_finish_tells_how_it_ended_without_raising(tmp_path: Path):
    summary = await run_batch(config_of(tmp_path, errors=1), records(50), fail_fast=True).finish()
    assert (summary.verdict, summary.exit_code) == ("stopped", 3)


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys, agentbatch; print([m for m in sys.modules if m.startswith(('agentbatch.', 'pydantic', 'yaml'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_public_name_is_there():
    for name in agentbatch.__all__:
        assert getattr(agentbatch, name) is not None
    assert agentbatch.Config is Config
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = agentbatch.no_such_name
