"""The README says what is so: its tables are those of the code, its configs load, its commands print what it shows."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import readme_tables
import yaml
from typer.main import get_command

from agentbatch.cli.app import app
from agentbatch.config import load

ROOT = Path(__file__).parent.parent
TEXT = readme_tables.README.read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(TEXT) if kind == language]


@dataclass
class Session:
    """A command of a console block, and what the README shows of its output; `...` stands for any lines.

    A line `^C` right after the command interrupts it.
    """

    command: str
    shown: list[str]


def sessions(block: str) -> list[Session]:
    found: list[Session] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Session(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


def test_the_tables_are_those_of_the_code():
    assert readme_tables.filled_in(TEXT) == TEXT, "run: python tests/readme_tables.py"


def test_every_whole_config_loads(tmp_path: Path):
    whole = [block for block in blocks("yaml") if "version: 1" in block and "typo" not in block]
    assert whole
    for block in whole:
        path = tmp_path / "config.yaml"
        path.write_text(block, "utf-8")
        load(path, environ={"OPENAI_API_KEY": "key-of-this-test"})


def test_the_ci_snippets_are_whole():
    named = {
        block.partition("\n")[0]: yaml.load(block, yaml.BaseLoader)
        for block in blocks("yaml")
        if "ci.yml\n" in block or "workflows" in block
    }
    github, gitlab = named["# .github/workflows/agents.yml"], named["# .gitlab-ci.yml"]
    assert set(github) == {"on", "jobs"}
    steps = github["jobs"]["agents"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    commands = [step["run"] for step in steps if "run" in step] + gitlab["agents"]["script"]
    ran = [shlex.split(part) for command in commands for part in command.split("&&") if " run " in part]
    options = {option for parameter in get_command(app).commands["run"].params for option in parameter.opts}
    assert len(ran) == 2
    for words in ran:
        assert {word for word in words if word.startswith("-")} <= options
    assert gitlab["agents"]["artifacts"]["reports"] == {"junit": "out/junit.xml"}


def test_every_file_it_names_is_there():
    named = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert len(named) > 10
    assert [link for link in named if not (ROOT / link).exists()] == []


def test_every_anchor_it_names_is_there():
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


@pytest.fixture
def shell(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with what the README's commands want, and an environment in which `agentbatch` is ours."""
    for folder in ("configs", "samples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for block in blocks("yaml"):
        if named := re.match(r"# (\S+\.yaml)\n", block):
            (tmp_path / named[1]).write_text(block, "utf-8")
    for block in blocks("python"):
        if named := re.match(r"# (\S+\.py)\n", block):
            (tmp_path / named[1]).write_text(block, "utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "agentbatch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agentbatch "$@"\n', "utf-8")
    program.chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    (programs / "python").chmod(0o755)
    return tmp_path, {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "100"}


def output_of(session: Session, folder: Path, environ: dict[str, str]) -> list[str]:
    interrupted = session.shown[:1] == ["^C"]
    command = ["bash", "-c", ("exec " if interrupted else "") + session.command]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        if interrupted:
            session.shown.pop(0)
            wait_for_lines(folder / "numbers.results.jsonl")
            process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    return output.splitlines()


def wait_for_lines(path: Path, lines: int = 40) -> None:
    give_up = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def pattern_of(shown: list[str]) -> str:
    """What the output must look like: figures may differ, for they are times, and what follows from them."""
    parts: list[str] = []
    for line in shown:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            text = re.sub(r"\\ +|(?:\\ )+", r"\\s+", re.escape(line.strip()))
            figures = re.sub(r"(?:<|\\\$)*\d(?:\d|\\\.|,)*k?(?:\\s\+(?:s|ms)\b)?", r"\\S+(?: m?s)?", text)
            parts.append(rf"\s*{re.sub('█+', '█+', figures)}\s*\n")
    return "".join(parts)


def exact(command: str) -> bool:
    return not command.startswith("agentbatch run")


@pytest.mark.slow
def test_every_command_prints_what_the_readme_shows(shell: tuple[Path, dict[str, str]]):
    ran = 0
    for block in blocks("console"):
        for session in sessions(block):
            if session.command.startswith("agentbatch mock"):
                continue  # serves until it is interrupted; its own tests try it
            if session.command.startswith("jq") and shutil.which("jq") is None:
                continue
            output = output_of(session, *shell)
            ran += 1
            if exact(session.command) and "..." not in session.shown:
                assert output == session.shown, session.command
            else:
                wanted, got = pattern_of(session.shown), "".join(f"{line}\n" for line in output)
                assert re.fullmatch(wanted, got), f"{session.command}\nshould match {wanted}\nbut is\n{got}"
    assert ran > 12
