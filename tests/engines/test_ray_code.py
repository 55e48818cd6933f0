"""What reaches the workers: the folder's code, prompts and variables; and what never shows a key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from engines_ray_project import RayProject
from running import forget_modules

from agentbatch.config import load
from agentbatch.engines.ray.folder import pack, unpack, unpacked_folder
from agentbatch.errors import ConfigError

CANARY = "sk-canary-9f8e7d6c5b4a3210"
CONFIG = f"""\
version: 1
models: {{m: {{provider: mock, latency: 20ms, reply: "{{{{ prompt }}}}"}}}}
agents:
  ask: {{model: m, prompt: file://prompts/ask.j2}}
  count: {{kind: function, function: "mine.counting:count", executor: process}}
  shout: {{kind: function, function: "mine.counting:shout"}}
  echo: {{kind: command, command: [{sys.executable}, -c, "print(input())"], stdin: "{{{{ shout.output }}}}"}}
tools:
  keyed: {{command: [echo, hi], env: {{TOKEN: "${{CANARY_KEY}}"}}}}
workflow: [ask, count, shout, echo]
"""
MODULE = f"""\
import os

from mine.words import LOUD

def count(input):
    return len(input["n"])

def shout(ask):
    print("said on stdout")
    return ask.upper() + LOUD + str(os.environ["CANARY_KEY"] == "{CANARY}")
"""


@pytest.fixture
def project(tmp_path: Path) -> RayProject:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ask.j2").write_text("Hello {{ input.n }}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "counting.py").write_text(MODULE)
    (tmp_path / "mine" / "words.py").write_text("LOUD = '! '\n")
    (tmp_path / ".env").write_text(f"CANARY_KEY={CANARY}\n")
    (tmp_path / "big.bin").write_bytes(b"x" * 1000)
    project = RayProject(tmp_path, CONFIG)
    project.write(0, [{"n": "one"}, {"n": "four"}])
    return project


def names_in(data: bytes) -> set[str]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return set(archive.namelist())


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, project: RayProject) -> Iterator[None]:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    yield
    forget_modules(project.folder)


def test_the_package_holds_the_config_its_prompts_and_modules_and_no_key(project: RayProject, variables: None):
    package = pack(load(project.folder / "c.yaml"))
    assert names_in(package.data) == {
        "c.yaml",
        "prompts/ask.j2",
        "mine/__init__.py",
        "mine/counting.py",
        "mine/words.py",
    }
    assert pack(load(project.folder / "c.yaml")).digest == package.digest
    folder = unpack(package.digest, package.data)
    assert (folder / package.config).read_text() == (project.folder / "c.yaml").read_text()
    assert unpacked_folder(package.digest) == folder
    shutil.rmtree(folder, ignore_errors=True)  # Ray may be leaving it


def test_a_script_can_be_run_there_and_nothing_else_is_left(
    project: RayProject, variables: None, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    (project.folder / "tool.sh").write_text("#!/bin/sh\necho hi\n")
    (project.folder / "tool.sh").chmod(0o755)
    (project.folder / "c.yaml").write_text(project.config + "engine: {working_dir: .}\n")
    package = pack(load(project.folder / "c.yaml"))
    folders = {unpack(package.digest, package.data), unpack(package.digest, package.data)}  # two workers at once
    (folder,) = folders
    assert (folder / "tool.sh").stat().st_mode & 0o777 == 0o755
    assert subprocess.check_output([folder / "tool.sh"]) == b"hi\n"
    with pytest.raises(zipfile.BadZipFile):
        unpack("broken", package.data[:-100])
    assert list(folder.parent.iterdir()) == [folder]


def test_a_working_dir_goes_whole_less_what_is_excluded(project: RayProject, variables: None):
    text = project.config + "engine: {working_dir: ., excludes: ['mine/words.py']}\n"
    (project.folder / "c.yaml").write_text(text)
    names = names_in(pack(load(project.folder / "c.yaml")).data)
    assert {"big.bin", "in.jsonl", "mine/counting.py"} <= names
    assert "mine/words.py" not in names
    assert ".env" not in names


def test_too_much_to_send_is_refused(project: RayProject, variables: None):
    with (project.folder / "huge.bin").open("wb") as file:
        file.truncate(101 * 1024**2)
    (project.folder / "c.yaml").write_text(project.config + "engine: {working_dir: .}\n")
    with pytest.raises(ConfigError, match=r"more than 100 MB.*engine\.excludes"):
        pack(load(project.folder / "c.yaml"))


def test_a_variable_that_only_the_nodes_have(project: RayProject):
    (project.folder / ".env").unlink()
    (project.folder / "c.yaml").write_text(project.config + "engine: {secrets: {CANARY_KEY: node_env}}\n")
    source = load(project.folder / "c.yaml", environ={}).source
    forget_modules(project.folder)
    assert source is not None
    assert CANARY not in str(source)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder with a short name, for Ray puts sockets into it."""
    folder = Path(tempfile.mkdtemp(prefix="ab", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_workers_run_the_folders_code_and_no_log_has_the_key(project: RayProject, short_tmp: Path):
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    project.config = project.config.replace("latency: 20ms", "latency: 20ms, max_concurrency: 1")
    project.write(0, [{"n": f"item {n}"} for n in range(150)])
    process = project.start("--workers", "2", TMPDIR=str(short_tmp))
    give_up = time.monotonic() + 120
    while project.lines() < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    found = [Path(folder, name) for folder, _, names in os.walk(short_tmp) for name in names]  # others come and go
    logs = {path: path.read_bytes() for path in found if "logs" in path.parts and path.is_file()}
    said_out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert [line["output"].strip() for line in project.results()] == [f"HELLO ITEM {n}! True" for n in range(150)]
    assert {line["agents"]["count"]["output"] for line in project.results()} == {6, 7, 8}
    assert any(b"StationActor" in text for text in logs.values())
    assert [path for path, text in logs.items() if CANARY.encode() in text] == []
    assert CANARY not in said
    assert "said on stdout" not in said_out
