"""`agentbatch plan` as people run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models:
  fast: {provider: openai, model: gpt-4o-mini, api_key: "${OPENAI_API_KEY:?set it}", rpm: 500}
agents:
  writer: {model: fast, prompt: "Write about {{ input.topic }}"}
  critic: {model: fast, prompt: "Review {{ writer.output }}"}
groups:
  refine: {loop: [writer, critic], until: "'good' in critic.output", max_iterations: 3}
workflow: refine
"""


def plan(folder: Path, *options: str, text: str = CONFIG, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.run(
        [sys.executable, "-m", "agentbatch", "plan", "config.yaml", *options],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_tree_needs_no_key_and_leaves_no_file(tmp_path: Path) -> None:
    done = plan(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "workflow  sequence, 2 to 6 calls\n"
        "└─ refine  loop up to 3 times until 'good' in critic.output, 2 to 6 calls\n"
        "   ├─ writer  chat, model fast\n"
        "   └─ critic  chat, model fast\n"
        "\n"
        "models\n"
        "  fast  openai gpt-4o-mini, 64 at once, 500 rpm, 2 to 6 calls\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_another_workflow_and_other_values_can_be_looked_at(tmp_path: Path) -> None:
    done = plan(tmp_path, "--workflow", "critic", "--set", "models.fast.rpm=7")
    assert "refine" not in done.stdout and "7 rpm" in done.stdout


@pytest.mark.parametrize(("option", "start"), [("--mermaid", "flowchart TD\n"), ("--dot", "digraph workflow {\n")])
def test_it_draws_diagrams(tmp_path: Path, option: str, start: str) -> None:
    done = plan(tmp_path, option)
    assert done.returncode == 0
    assert done.stdout.startswith(start)
    assert "writer" in done.stdout and "again" in done.stdout


def test_one_diagram_at_a_time(tmp_path: Path) -> None:
    done = plan(tmp_path, "--dot", "--mermaid")
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one" in done.stderr


def test_a_locale_without_lines_gets_ascii(tmp_path: Path) -> None:
    done = plan(tmp_path, LC_ALL="C")
    assert "`- refine" in done.stdout
    assert done.stdout.isascii()


def test_a_wrong_config_is_explained(tmp_path: Path) -> None:
    done = plan(tmp_path, text=CONFIG.replace("workflow: refine", "workflow: refin"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'refine'" in done.stderr
