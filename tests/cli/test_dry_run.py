"""`agentbatch run --dry-run`: it tells what a run would do, and touches nothing."""

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentbatch.cli.app import app

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models:
  m: {provider: mock, input_tokens: 100, output_tokens: 50, price: {input: 1, output: 10}}
agents:
  writer: {model: m, prompt: "Write about {{ input.topic }}"}
  critic: {model: m, prompt: "Review {{ writer.output }}"}
workflow: [writer, critic]
"""


def written(folder: Path, items: int = 20) -> None:
    (folder / "config.yaml").write_text(CONFIG)
    lines = (json.dumps({"id": f"i{number}", "topic": "t"}) + "\n" for number in range(items))
    (folder / "in.jsonl").write_text("".join(lines))


def words(*options: str, inputs: str = "in.jsonl") -> list[str]:
    return ["run", "config.yaml", inputs, "--progress", "none", *options]


def run(folder: Path, *options: str) -> None:
    """A real run in this process; it may fail."""
    with chdir(folder):
        done = CliRunner().invoke(app, words(*options))
    assert done.exception is None or isinstance(done.exception, SystemExit)


def process(folder: Path, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentbatch", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Each file's content and the time it was changed."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def dry(folder: Path, *options: str) -> str:
    """What a dry run says; it must have left everything as it was."""
    before = everything(folder)
    with chdir(folder):
        done = CliRunner().invoke(app, words("--dry-run", *options))
    assert (done.exit_code, done.stderr) == (0, "")
    assert everything(folder) == before
    return " ".join(done.stdout.split())


def test_it_tells_the_plan_and_what_a_fresh_run_takes(tmp_path: Path) -> None:
    written(tmp_path)
    said = dry(tmp_path)
    assert said.startswith("workflow sequence, 2 calls ├─ writer chat, model m")
    assert "items 20 to do of 20" in said
    assert "calls 2 an item, 40 in all" in said
    assert "tokens 4.00k in, 2.00k out" in said
    assert "cost $0.0240" in said


def test_what_is_finished_is_not_counted(tmp_path: Path) -> None:
    written(tmp_path)
    run(tmp_path, "--limit", "12")
    assert "items 8 to do of 20; 12 have a result" in dry(tmp_path)
    assert "items 20 to do of 20" in dry(tmp_path, "--overwrite")
    assert "items 20 to do of 20" in dry(tmp_path, "-o", "other.jsonl")
    assert "items 20 to do of 20" in dry(tmp_path, "-o", "-")


def test_a_torn_line_is_seen_and_left(tmp_path: Path) -> None:
    written(tmp_path)
    run(tmp_path, "--limit", "12")
    results = tmp_path / "in.results.jsonl"
    results.write_bytes(results.read_bytes()[:-20])
    assert "items 9 to do of 20; 11 have a result" in dry(tmp_path)


def test_failed_items_count_where_they_would_run_again(tmp_path: Path) -> None:
    written(tmp_path, items=3)
    run(tmp_path)
    results = tmp_path / "in.results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    lines[1]["status"] = "error"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "items 0 to do of 3; 3 have a result" in dry(tmp_path)
    assert "items 1 to do of 3; 2 have a result" in dry(tmp_path, "--retry-failed")


def test_part_of_the_inputs_can_be_chosen(tmp_path: Path) -> None:
    written(tmp_path)
    assert "items 5 to do of 5" in dry(tmp_path, "--offset", "10", "--limit", "5")
    assert "items 7 to do of 7" in dry(tmp_path, "--sample", "7")


def test_bad_lines_cost_nothing_and_are_told(tmp_path: Path) -> None:
    written(tmp_path, items=2)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"id": "x"}\n{broken\n')
    said = dry(tmp_path)
    assert "items 2 to do of 4; 2 can't be used, the first: in.jsonl:3: no field 'topic'" in said
    assert "calls 2 an item, 4 in all" in said


def test_stdin_can_be_looked_at(tmp_path: Path) -> None:
    written(tmp_path)
    before = everything(tmp_path)
    done = process(tmp_path, *words("--dry-run", inputs="-"), input='{"topic": "t"}\n' * 3)
    assert (done.returncode, done.stderr) == (0, "")
    assert "items    3 to do of 3\n" in done.stdout
    assert everything(tmp_path) == before


def test_a_run_that_goes_on_meanwhile_is_in_nobodys_way(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "in.results.jsonl.lock").write_text("{}")
    assert "items 20 to do of 20" in dry(tmp_path)


def test_what_the_run_would_refuse_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    run(tmp_path, "--limit", "2")
    before = everything(tmp_path)
    done = process(tmp_path, *words("--dry-run", "--set", "agents.writer.prompt=Other {{ input.topic }}"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "agents.writer.prompt changed" in done.stderr
    assert everything(tmp_path) == before


def test_the_forecast_can_be_json(tmp_path: Path) -> None:
    written(tmp_path)
    document = json.loads(dry(tmp_path, "--json"))
    assert document["items"]["to_do"] == 20
    assert document["cost_usd"] == {"low": pytest.approx(0.024), "high": pytest.approx(0.024)}
    assert document["calls"] == {"low": 40, "high": 40}


def test_a_dry_run_opens_no_event_stream(tmp_path: Path) -> None:
    written(tmp_path)
    dry(tmp_path, "--events", "events.jsonl", "--traces", "traces.jsonl", "--summary", "summary.json")


def test_it_needs_no_key_for_nothing_is_sent(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / "config.yaml").write_text(
        "version: 1\nmodels: {m: {provider: openai, model: gpt-4o-mini, api_key: '${NO_SUCH_KEY:?set it}'}}\n"
        "agents: {writer: {model: m, prompt: 'Write about {{ input.topic }}'}}\n"
    )
    done = process(tmp_path, *words("--dry-run"))
    assert done.returncode == 0, done.stderr
    assert "note: the environment variable NO_SUCH_KEY is not set: set it (a run needs it)" in done.stderr
    assert "1 to do of 1" in done.stdout
    assert process(tmp_path, "plan", "config.yaml").returncode == 0
    assert process(tmp_path, *words()).returncode == 2
