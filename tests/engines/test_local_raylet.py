"""Whether this machine has a raylet of the cluster's, asked of sockets of our own and of a real cluster."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines_ray_project import RayProject
from ray_cluster import CLUSTER, labelled_cluster

from agentbatch.engines.ray.local_raylet import ended, listens, refuse_no_node
from agentbatch.errors import ConfigError


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a path short enough for UNIX sockets."""
    made = Path(tempfile.mkdtemp(prefix="agbr-"))
    yield made
    shutil.rmtree(made)


@contextmanager
def raylet(path: Path) -> Iterator[str]:
    """Something that listens; its socket's file stays when it ends, as after a kill."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield str(path)


def test_one_raylet_that_listens_here_is_enough(folder: Path):
    with raylet(folder / "here") as here:
        refuse_no_node("10.0.0.1:6379", lambda _: [str(folder / "elsewhere"), here])


def test_a_machine_without_any_is_told_what_to_do(folder: Path):
    with raylet(folder / "killed") as killed:
        pass
    for paths in ([str(folder / "elsewhere"), killed], []):
        with pytest.raises(ConfigError) as refused:
            refuse_no_node("10.0.0.1:6379", lambda _, paths=paths: paths)
        assert str(refused.value) == (
            "this machine is no node of the Ray cluster at 10.0.0.1:6379: begin one here with `ray start"
            " --address=10.0.0.1:6379`, or send the run there with `agentbatch submit`"
        )


def test_what_can_not_be_told_is_left_to_ray(folder: Path):
    def other_ray(address: str) -> list[str]:
        raise AttributeError("get_all_node_info")

    refuse_no_node("10.0.0.1:6379", other_ray)
    assert listens(str(folder / ("too-long" * 20)))


async def test_the_end_of_a_raylet_is_heard_and_a_connection_that_it_ends_is_none(folder: Path):
    path = str(folder / "raylet")
    heard: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(writer)

    server = await asyncio.start_unix_server(accept, path)
    watching = asyncio.create_task(ended(path))
    (await heard.get()).close()
    again = await heard.get()
    assert not watching.done()
    server.close()
    again.close()
    async with asyncio.timeout(30):
        await watching


@pytest.mark.slow
def test_a_run_from_a_machine_that_is_no_node(tmp_path: Path):
    """A program that does not see the nodes' sockets is on another machine, for Ray."""
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    project = RayProject(tmp_path)
    project.write(2)
    elsewhere = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /tmp/ray && exec "$@"', "sh"]
    with labelled_cluster() as address:
        here = ["nodes", "--address", address]
        commands = [project.command("--address", address), [sys.executable, "-m", "agentbatch", *here]]
        for command in commands:
            done = subprocess.run(
                [*elsewhere, *command],
                cwd=tmp_path,
                env={**os.environ, **CLUSTER},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert done.stderr.startswith(f"this machine is no node of the Ray cluster at {address}: begin one here")
            assert len(done.stderr.splitlines()) == 1, done.stderr
        code, said = project.run("--address", address, **CLUSTER)
    assert code == 0, said
    assert len(project.results()) == 2
