"""`agentbatch validate`, `schema`, `--help` and the one place where errors end, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models: {m: {provider: mock}}
agents:
  a: {model: m, system: Be kind., prompt: "Describe {{ input.product }}"}
"""


def agentbatch(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "agentbatch", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_a_good_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text('{"product": "shoe"}\n')
    done = agentbatch("validate", "c.yaml", "in.jsonl", cwd=tmp_path)
    assert done.stdout == "ok: 1 model, 1 agent, 1 input\n"
    assert done.stderr == "note: c.yaml:4:17: agents.a: 'system' is read as 'instructions'\n"
    assert done.returncode == 0


def test_a_bad_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("prompt", "promt"))
    done = agentbatch("validate", "c.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "c.yaml:4:35: agents.a: unknown key 'promt'\n"
        '    4 |   a: {model: m, system: Be kind., promt: "Describe {{ input.product }}"}\n'
        "      |                                   ^^^^^\n"
        "  did you mean 'prompt'?\n"
    )


def test_bad_inputs(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text(
        '{"id": 1, "product": "a"}\n{"id": 1, "product": "b"}\nno json\n{"prodct": "c"}\n'
    )
    done = agentbatch("validate", "c.yaml", "in.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()[1:]] == [
        "in.jsonl:2",
        "in.jsonl:3",
        "in.jsonl:4",
    ]


def test_an_override_counts(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    assert agentbatch("validate", "c.yaml", "--set", "agents.a.model=n", cwd=tmp_path).returncode == 2
    assert agentbatch("validate", "c.yaml", "--set", "limits.max_cost=2", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validate", "nope.yaml"), "nope.yaml: no such file"),
        (("validate",), "Missing argument 'CONFIG'"),
        (("validat", "c.yaml"), "No such command 'validat'"),
        (("run", "c.yaml", "in.jsonl", "--no-such-option"), "No such option"),
    ],
)
def test_usage_errors_exit_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = agentbatch(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_what_a_run_needs_of_the_environment_is_noted_and_a_slip_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    where = "base_url: '${HOST:?set it}/v1', api_key: '${MY_KEY}'"
    agent = "agents: {a: {model: m, prompt: hi}}"
    path.write_text(f"version: 1\nmodels: {{m: {{provider: openai, model: x, {where}}}}}\n{agent}\n")
    ended = agentbatch("validate", str(path), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "note: the environment variable HOST is not set: set it (a run needs it)" in ended.stderr
    assert "MY_KEY is not set" in ended.stderr
    path.write_text(path.read_text().replace("model: x", "model: x, rpm: '${RPM}'"))
    ended = agentbatch("validate", str(path), cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("models.m.rpm") == 1  # what follows from it is not told too
    assert "the environment variable RPM is not set" in ended.stderr


def test_a_bad_key_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        CONFIG.replace("{provider: mock}", '{provider: openai, model: x, api_key: "${OPENAI_API_KEY}"}')
    )
    done = agentbatch("validate", "c.yaml", cwd=tmp_path, OPENAI_API_KEY="sk-c4n4ry-0123456789\n")
    assert done.returncode == 2
    assert "OPENAI_API_KEY has a control character" in done.stderr
    assert "c4n4ry" not in done.stderr + done.stdout


def test_schema(tmp_path: Path) -> None:
    printed = agentbatch("schema", cwd=tmp_path)
    assert json.loads(printed.stdout)["title"] == "agentbatch config"
    assert agentbatch("schema", "-o", "s.json", cwd=tmp_path).returncode == 0
    assert (tmp_path / "s.json").read_text() == printed.stdout
    assert agentbatch("schema", "-o", "no/s.json", cwd=tmp_path).returncode == 74


def test_help_and_version(tmp_path: Path) -> None:
    help_ = agentbatch("--help", cwd=tmp_path)
    assert help_.returncode == 0
    for verb in ("run", "validate", "init", "schema", "mock"):
        assert f"\n  {verb} " in help_.stdout
    assert agentbatch("--version", cwd=tmp_path).stdout.startswith("agentbatch ")


def test_help_stays_light(tmp_path: Path) -> None:
    code = (
        "import sys; from agentbatch.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'asyncio', 'jinja2', 'aiohttp', 'yaml', 'rich', 'httpx2', 'orjson', 'agentbatch.config'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_news(tmp_path: Path) -> None:
    command = f"{sys.executable} -m agentbatch schema | true; echo ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")


def test_a_bug_is_reported_without_values(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "import agentbatch.cli.app as cli\n"
        "from agentbatch.__main__ import main\n"
        "def broken(**_):\n"
        "    key = 'sk-c4n4ry-0123456789'\n"
        "    raise RuntimeError('with ' + key + ' and sesame-opens-it')\n"
        "cli.app = broken\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DOOR_PASSWORD": "sesame-opens-it"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 70
    assert "an error that should not happen: RuntimeError: with ***" in done.stderr
    assert "c4n4ry" not in done.stderr
    assert "sesame" not in done.stderr


def test_a_config_error_names_the_option_that_was_typed(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text('{"product": "shoe"}\n')
    options = ("--timeout", "soon", "--max-failures", "5x", "--workflow", "b", "--set", "limits.max_cost=x")
    done = agentbatch("run", "c.yaml", "in.jsonl", *options, cwd=tmp_path, AGENTBATCH_ITEM_TIMEOUT="0")
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines() if not line.startswith(" ")] == [
        "--max-failures 5x",
        "--set limits.max_cost=x",
        "--timeout soon",
        "--workflow b",
        "AGENTBATCH_ITEM_TIMEOUT=0",
        "5 problems",
    ]
    assert agentbatch("plan", "c.yaml", "--workflow", "b", cwd=tmp_path).stderr.startswith("--workflow b: workflow: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("in.jsonl", "c.yaml"), "in.jsonl: is called as inputs are; the config comes first: CONFIG INPUTS\n"),
        (("c.yml", "in.jsonl"), "c.yml: no such file, did you mean 'c.yaml'?\n"),
        (("c.yaml", "inn.jsonl"), "did you mean 'in.jsonl'?\n"),
        (("other.yaml",), "other.yaml: no such file. `agentbatch init` writes a config to begin with\n"),
    ],
)
def test_files_by_wrong_names(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text('{"product": "shoe"}\n')
    done = agentbatch("validate", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(said)
