"""Machines that have another agentbatch, or none, and clusters of another Ray."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines_ray_project import RayProject, told_by
from ray_cluster import CLUSTER, labelled_cluster

import agentbatch

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow

OTHER_RAY = """\
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_put(b"CLUSTER_METADATA", sys.argv[2].encode(), True, b"cluster")
"""
"""Lets a cluster say that it is of another version, where each that joins looks."""


def stranger(folder: Path, version: str | None) -> Path:
    """The Python of a machine with this Ray and another version of agentbatch, or none."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    libraries = folder / "libraries"
    libraries.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "agentbatch" not in entry.name and entry.suffix != ".pth":
            (libraries / entry.name).symlink_to(entry)
    if version is not None:
        shutil.copytree(Path(agentbatch.__file__).parent, libraries / "agentbatch")
        beginning = libraries / "agentbatch/__init__.py"
        here = f'__version__ = "{agentbatch.__version__}"'
        assert here in beginning.read_text("utf-8")
        beginning.write_text(beginning.read_text("utf-8").replace(here, f'__version__ = "{version}"'), "utf-8")
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "these.pth").write_text(f"{libraries}\n", "utf-8")
    return folder / "venv/bin/python"


@contextmanager
def joined(python: Path, address: str) -> Iterator[None]:
    """A node of the cluster that runs this Python."""
    beginning = "from ray.scripts.scripts import main; main()"
    process = subprocess.Popen(
        [python, "-c", beginning, "start", f"--address={address}", "--num-cpus=1", "--block", "--disable-usage-stats"],
        env={**os.environ, **CLUSTER},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said: list[str] = []
        while "--block" not in (line := process.stdout.readline()):
            assert line, said
            said.append(line)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.wait(60)
        process.stdout.close()


def test_they_are_refused_at_the_start(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(20)
    old, bare = tmp_path / "old", tmp_path / "bare"
    with (
        labelled_cluster() as address,
        joined(stranger(old, "0.0.9"), address),
        joined(stranger(bare, None), address),
    ):
        code, said = project.run("--address", address, **CLUSTER)
        listed = subprocess.run(
            [sys.executable, "-m", "agentbatch", "nodes", "--address", address],
            env={**os.environ, **CLUSTER},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    here = agentbatch.__version__
    skew = f"agentbatch 0.0.9 there, {here} here: install agentbatch=={here} there"
    missing = (
        f"no process of agentbatch starts there (ModuleNotFoundError: No module named 'agentbatch'):"
        f" install agentbatch=={here} there"
    )
    assert code == 2
    last = said.splitlines()[-1]  # Ray itself may have said before that it gave up starting the other
    assert skew in last or missing in last
    assert "Traceback" not in said
    assert listed.returncode == 1
    assert skew in listed.stderr
    assert missing in listed.stderr


def test_one_that_joins_later_sits_out(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(3000)
    bare = stranger(tmp_path / "bare", None)
    with labelled_cluster() as address:
        run = project.start("--address", address, **CLUSTER)
        give_up = time.monotonic() + 120
        while not project.lines():
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.05)
        with joined(bare, address):
            said = told_by(run, 150)
    assert run.returncode == 0, said
    assert said.count("the run goes on without that node") == 1, said
    assert "No module named 'agentbatch'" in said
    assert len(project.results()) == 3000


def test_a_cluster_of_another_ray(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(2)
    told = json.dumps({"ray_version": "2.9.0", "python_version": "3.11.7"})
    with labelled_cluster() as address:
        subprocess.run([sys.executable, "-c", OTHER_RAY, address, told], env={**os.environ, **CLUSTER}, check=True)
        code, said = project.run("--address", address, **CLUSTER)
    assert code == 2
    assert "can't be joined: it has Ray 2.9.0, this machine Ray" in said
    assert len(said.splitlines()) == 1, said
    assert project.results() == []
