"""A model's code: refused where there is no sandbox, harmless where there is one."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import LineOf
from workflow import config_of

from agentbatch.errors import ConfigError
from agentbatch.transports.sandbox import Bounds, run_sandboxed, sandbox_arguments, sandbox_problem

needs_bwrap = pytest.mark.skipif(sandbox_problem() is not None, reason=f"no sandbox here: {sandbox_problem()}")


def one_call(folder: Path, kind: str, text: str, **fields: Any) -> Any:
    argument = "code" if kind == "python" else "command"
    model = {
        "provider": "mock",
        "tool_calls": [{"name": "t", "arguments": {argument: text}}],
        "reply": "{{ messages[-1].content }}",
    }
    tools = {"t": {kind: fields, "timeout": "20s"}}
    agents = {"a": {"model": "m", "prompt": "go", "tools": ["t"]}}
    return config_of(folder, agents, models={"m": model}, tools=tools)


@pytest.fixture
def _path_without_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    sandbox_problem.cache_clear()
    yield tmp_path / "bin"
    sandbox_problem.cache_clear()


@pytest.mark.parametrize("kind", ["python", "shell"])
def test_without_a_sandbox_the_config_is_refused(tmp_path: Path, kind: str, _path_without_bwrap: Path) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)no bwrap.*install it.*{kind}: {{unsafe: true}}"):
        one_call(tmp_path, kind, "1")
    one_call(tmp_path, kind, "1", unsafe=True)


def test_a_sandbox_that_does_not_work_is_none(tmp_path: Path, _path_without_bwrap: Path) -> None:
    script = _path_without_bwrap / "bwrap"
    script.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(ConfigError, match="does not work here: bwrap: No permissions"):
        one_call(tmp_path, "python", "1")


def test_the_sandbox_is_given_no_network_no_environment_and_nothing_to_write_to() -> None:
    arguments = sandbox_arguments(Bounds())
    assert {"--unshare-all", "--clearenv", "--die-with-parent", "--new-session"} <= set(arguments)
    assert "--bind" not in arguments
    assert "--share-net" not in arguments
    mounted = {arguments[n + 1] for n, word in enumerate(arguments) if word == "--ro-bind-try"}
    assert not {"/", "/home", "/root", "/etc", "/var", "/run", str(Path.cwd())} & mounted


# without a sandbox, on one's own responsibility


async def test_unsafe_code_runs_in_an_empty_folder_with_a_clean_environment(
    tmp_path: Path, line_of: LineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-of-this-test")
    code = "import os\nprint(os.listdir('.'), sorted(os.environ))\nopen('x', 'w').write('x')"
    line = await line_of(one_call(tmp_path, "python", code, unsafe=True))
    assert line["output"].startswith("[] [")
    assert "CANARY" not in line["output"]
    line = await line_of(one_call(tmp_path, "shell", "ls -A; echo $HOME | grep -c agentbatch-", unsafe=True))
    assert line["output"] == "1"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = bytearray(3_000_000_000)", "MemoryError"),
        ("open('big', 'wb').write(bytes(200_000_000))", "exit code|killed by signal"),
        ("raise ValueError('no')", "ValueError: no"),
        ("def", "SyntaxError"),
    ],
)
async def test_bounds_hold_and_failures_are_told(tmp_path: Path, line_of: LineOf, code: str, words: str) -> None:
    line = await line_of(one_call(tmp_path, "python", code, unsafe=True))
    assert line["status"] == "ok"
    assert line["output"].startswith("Error: ")
    assert any(word in line["output"] for word in words.split("|"))


async def test_processor_time_is_bounded() -> None:
    ended = await run_sandboxed([sys.executable, "-c", "while True: pass"], b"", Bounds(cpu_s=1), 1000, unsafe=True)
    assert ended.code in (-9, -24)  # SIGKILL, or SIGXCPU before it


async def test_what_is_printed_and_what_is_not(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(one_call(tmp_path, "python", "import sys; print(1); print(2, file=sys.stderr)", unsafe=True))
    assert line["output"] == "1\n2"
    assert (await line_of(one_call(tmp_path, "shell", "true", unsafe=True)))["output"] == "[nothing printed]"


# in the sandbox

ESCAPES = {
    "reads /etc/shadow": "cat /etc/shadow",
    "reads the home folder": "ls -A ~root /root /home/*",
    "reads the project": "cat {here}/pyproject.toml",
    "writes to /usr": "touch /usr/owned",
    "writes to /": "touch /owned",
    "writes to /dev": "touch /dev/shm/owned",
    "sees other processes": "test $(ls -d /proc/[0-9]* | wc -l) -gt 5",
    "reads our environment": "cat /proc/*/environ | tr '\\0' '\\n' | grep CANARY",
    "reaches the network": "{python} -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 2)\"",
    "resolves names": "getent hosts example.com",
    "mounts": "mount -t tmpfs none /mnt",
    "becomes root": "su -c id root",
    "makes a device": "mknod /tmp/sda b 8 0",
}


@needs_bwrap
@pytest.mark.parametrize("way", ESCAPES)
async def test_no_way_out(tmp_path: Path, line_of: LineOf, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-of-this-test")
    line = ESCAPES[way].format(here=Path.cwd(), python=sys.executable, port=1)
    output = (await line_of(one_call(tmp_path, "shell", line)))["output"]
    assert output.startswith("Error: "), output
    assert "canary" not in output
    assert not Path("/owned").exists()
    assert not Path("/usr/owned").exists()


@needs_bwrap
async def test_code_works_in_the_sandbox(tmp_path: Path, line_of: LineOf) -> None:
    code = "import json, tempfile\nprint(json.dumps(sum(range(10))), tempfile.mkstemp()[1][:5])"
    assert (await line_of(one_call(tmp_path, "python", code)))["output"] == "45 /tmp/"
    assert (await line_of(one_call(tmp_path, "shell", "echo a | tr a b; pwd; ls -A")))["output"] == "b\n/tmp"
