"""`--input-format`: every command that reads inputs reads them as `run` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models: {m: {provider: mock, reply: "{{ prompt }}"}}
agents: {a: {model: m, prompt: "Describe {{ input.product }}"}}
"""
ONLY_A_MODEL = "version: 1\nmodels: {m: {provider: openai, model: x, base_url: 'http://127.0.0.1:9/v1', retries: 0}}\n"
REQUEST = {"method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "hi"}]}}
BATCH = ("--input-format", "openai-batch")
CSV = ("--input-format", "csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "model.yaml").write_text(ONLY_A_MODEL)
    (tmp_path / "table.txt").write_text('id,product\n7,shoe\n8,"a\nhat"\n')
    requests = [json.dumps({"custom_id": name, **REQUEST}) for name in ("x", "y")]
    (tmp_path / "batch.jsonl").write_text("\n".join(requests) + "\n")
    return tmp_path


def agentbatch(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "1"}
    command = [sys.executable, "-m", "agentbatch", *arguments]
    return subprocess.run(command, cwd=folder, env=env, input=given, capture_output=True, text=True, timeout=60)


def test_validate_reads_csv_under_any_name(folder: Path) -> None:
    assert agentbatch(folder, "validate", "c.yaml", "table.txt").returncode == 2
    done = agentbatch(folder, "validate", "c.yaml", "table.txt", *CSV)
    assert (done.returncode, done.stdout) == (0, "ok: 1 model, 1 agent, 2 inputs\n")


def test_validate_reads_requests_and_needs_no_agent_for_them(folder: Path) -> None:
    done = agentbatch(folder, "validate", "model.yaml", "batch.jsonl", *BATCH)
    assert done.returncode == 0, done.stderr
    assert "2 inputs" in done.stdout
    with (folder / "batch.jsonl").open("a") as file:
        file.write('{"custom_id": "z", "method": "POST", "url": "/v1/embeddings", "body": {}}\n')
    done = agentbatch(folder, "validate", "model.yaml", "batch.jsonl", *BATCH)
    assert done.returncode == 2
    assert "batch.jsonl:3" in done.stderr


@pytest.mark.parametrize("by_pipe", [False, True])
def test_run_reads_csv_from_a_file_of_any_name_and_from_a_pipe(folder: Path, by_pipe: bool) -> None:
    text = (folder / "table.txt").read_text()
    source = "-" if by_pipe else "table.txt"
    done = agentbatch(folder, "run", "c.yaml", source, *CSV, "-o", "out.jsonl", given=text if by_pipe else "")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert {line["id"]: line["output"] for line in lines} == {"7": "Describe shoe", "8": "Describe a\nhat"}


def test_jsonl_may_be_called_csv(folder: Path) -> None:
    (folder / "in.csv").write_text('{"product": "shoe"}\n')
    assert agentbatch(folder, "validate", "c.yaml", "in.csv", "--input-format", "jsonl").returncode == 0


def test_the_failed_ones_of_each_format_are_found_and_run_again(folder: Path) -> None:
    done = agentbatch(folder, "run", "model.yaml", "batch.jsonl", *BATCH, "-o", "out.jsonl")
    assert done.returncode == 1, done.stderr
    assert agentbatch(folder, "results", "failed", "out.jsonl", "--inputs", "batch.jsonl").returncode == 2
    done = agentbatch(folder, "results", "failed", "out.jsonl", "--inputs", "batch.jsonl", *BATCH, "-o", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert agentbatch(folder, "validate", "model.yaml", "again.jsonl", *BATCH).returncode == 0

    (folder / "c.yaml").write_text(CONFIG.replace("mock,", "mock, errors: {bad_request: 1},"))
    assert agentbatch(folder, "run", "c.yaml", "table.txt", *CSV, "-o", "csv.jsonl").returncode == 1
    done = agentbatch(folder, "results", "failed", "csv.jsonl", "--inputs", "table.txt", *CSV)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"id": "7", "product": "shoe"},
        {"id": "8", "product": "a\nhat"},
    ]


@pytest.mark.parametrize("output_format", ["agentbatch", "openai-batch"])
def test_the_doctor_writes_a_lost_header_anew_so_that_the_run_goes_on(folder: Path, output_format: str) -> None:
    formats = (*BATCH, "--output-format", output_format)
    assert agentbatch(folder, "run", "model.yaml", "batch.jsonl", *formats, "-o", "out.jsonl").returncode == 1
    (header,) = folder.glob("out.run.json")
    header.unlink()
    origin = ("--config", "model.yaml", "--inputs", "batch.jsonl")
    done = agentbatch(folder, "doctor", "out.jsonl", *origin, *formats, "--repair")
    assert done.returncode == 0, done.stdout + done.stderr
    again = agentbatch(folder, "run", "model.yaml", "batch.jsonl", *formats, "-o", "out.jsonl")
    assert again.returncode == 1
    assert "Nothing left to do" in again.stderr
