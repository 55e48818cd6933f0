"""Tools of MCP servers, over stdio and HTTP, against a server that does what servers do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import LineOf, run_here
from tools import mcp_fake
from workflow import config_of

from agentbatch.config import Config, load
from agentbatch.errors import ConfigError
from agentbatch.tools.mcp import name_for_model, told_schema

pytest.importorskip("mcp_types", reason="needs agentbatch[mcp]")

FAKE = Path(mcp_fake.__file__)
KEY = "let-me-in-0123"


def stdio(*words: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(FAKE), *words], **more}


def asking(
    folder: Path,
    server: dict[str, Any],
    *calls: tuple[str, dict[str, Any]],
    tools: list[str] | None = None,
    **more: Any,
) -> Config:
    """An agent whose model calls these tools, all in one turn, and then says what came of them."""
    model = {
        "provider": "mock",
        "tool_calls": [{"name": f"fake_{name}", "arguments": arguments, "force": True} for name, arguments in calls],
        "reply": "{{ messages | selectattr('role', 'eq', 'tool') | map(attribute='content') | join('|') }}",
    }
    agent = {"model": "m", "prompt": "go", "tools": tools or ["fake"], **more.pop("agent", {})}
    config = {"version": 1, "models": {"m": model}, "mcp_servers": {"fake": server}, "agents": {"a": agent}, **more}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return load(folder / "config.yaml", environ={"FAKE_KEY": KEY})


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.fixture
def http() -> Iterator[dict[str, Any]]:
    process = subprocess.Popen([sys.executable, str(FAKE), "http"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
    yield {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${FAKE_KEY}"}}
    process.kill()
    process.wait()
    process.stdout.close()


async def test_a_servers_tools_are_called_and_their_results_told(tmp_path: Path, line_of: LineOf) -> None:
    calls = [("echo", {"text": "hé"}), ("structured", {}), ("fail", {}), ("echo", {}), ("mixed", {})]
    line = await line_of(asking(tmp_path, stdio("banner"), *calls))
    told = line["output"].split("|")
    assert told[:3] == ["hé", '{"degrees": 21}', "Error: no luck today"]
    assert told[3].startswith("Error: the arguments don't fit: $: 'text' is a required property")
    assert told[4] == (
        "see:\n[image: image/png, 15 bytes, not shown]\n[memo://1]\na memo\n[blob://1: image/png, not shown]\n"
        "[memo://2] another memo"
    )


async def test_over_http_too(tmp_path: Path, line_of: LineOf, http: dict[str, Any]) -> None:
    line = await line_of(asking(tmp_path, http, ("echo", {"text": "hi"}), ("fail", {})))
    assert line["output"] == "hi|Error: no luck today"


async def test_what_the_model_is_told_of_them(tmp_path: Path) -> None:
    model = {"provider": "mock", "reply": "ok", "tool_calls": [{"name": "none", "force": True}]}
    config = config_of(
        tmp_path,
        {"a": {"model": "m", "prompt": "go", "tools": ["fake.e*", "fake.pid"]}},
        models={"m": {**model, "reply": "{{ messages[-1].content }}"}},
        mcp_servers={"fake": stdio()},
    )
    (line,) = await run_here(config, {})
    assert line["output"].endswith("the tools are: fake_echo, fake_env, fake_pid")


async def test_only_the_tools_on_its_list_are_an_agents(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(asking(tmp_path, stdio(), ("pid", {}), ("echo", {"text": "x"}), tools=["fake.echo"]))
    assert line["output"].startswith("Error: there is no tool 'fake_pid'")
    assert line["output"].endswith("|x")


async def test_toolsets_may_name_them_and_they_stand_beside_others(tmp_path: Path, line_of: LineOf) -> None:
    more = {"toolsets": {"mine": ["fake.echo", "say"]}, "tools": {"say": {"command": ["echo", "hello"]}}}
    model = {"provider": "mock", "tool_calls": [{"name": "say"}, {"name": "fake_echo", "arguments": {"text": "x"}}]}
    model["reply"] = "{{ messages[-2].content }}{{ messages[-1].content }}"
    agents = {"a": {"model": "m", "prompt": "go", "tools": ["mine", "fake.echo"]}}
    line = await line_of(config_of(tmp_path, agents, models={"m": model}, mcp_servers={"fake": stdio()}, **more))
    assert line["output"] == "hellox"


async def test_one_process_serves_all_items_and_ends_with_the_run(tmp_path: Path) -> None:
    config = asking(tmp_path, stdio(), ("pid", {}), ("linger", {"text": "300"}))
    lines = await run_here(config, *({} for _ in range(20)))
    pids = {line["output"].partition("|")[0] for line in lines}
    assert len(pids) == 1
    left = [*pids, *(line["output"].partition("|")[2] for line in lines)]
    assert [pid for pid in left if alive(int(pid))] == []


async def test_calls_run_at_once_but_no_more_than_allowed(tmp_path: Path) -> None:
    calls = [("slow", {"n": 0.05})] * 12
    config = asking(tmp_path, stdio(max_concurrency=4), *calls)
    (line,) = await run_here(config, {})
    assert line["output"] == "|".join(["done"] * 12)
    (line,) = await run_here(asking(tmp_path, stdio(max_concurrency=4), *calls, ("peak", {})), {})
    assert 2 <= int(line["output"].rpartition("|")[2]) <= 4


async def test_more_sessions_are_opened_when_all_are_busy(tmp_path: Path) -> None:
    calls = [("slow", {"n": 0.3}), ("pid", {}), ("slow", {"n": 0.3}), ("pid", {}), ("slow", {"n": 0.3}), ("pid", {})]
    lines = await run_here(asking(tmp_path, stdio(sessions=3), *calls), {}, {}, {})
    pids = {told for line in lines for told in line["output"].split("|") if told != "done"}
    assert 1 < len(pids) <= 3


async def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    config = asking(tmp_path, stdio(retries=1), ("die", {}), limits={"max_concurrency": 1})
    lines = await run_here(config, {}, {})
    for line in lines:
        assert (
            line["output"] == "Error: the MCP server fake ended during the call: Connection closed: exit code 7: "
            "I must leave"
        )


async def test_after_that_it_serves_as_before(tmp_path: Path, line_of: LineOf) -> None:
    models = {
        name: {"provider": "mock", "tool_calls": [{"name": f"fake_{name}", "arguments": arguments}]}
        for name, arguments in (("die", {}), ("echo", {"text": "still here"}))
    }
    agents = {name: {"model": name, "prompt": "go", "tools": ["fake"]} for name in models}
    models["echo"]["reply"] = "{{ messages[-1].content }}"
    config = config_of(tmp_path, agents, models=models, mcp_servers={"fake": stdio()}, workflow=["die", "echo"])
    assert (await line_of(config))["output"] == "still here"


async def test_a_server_that_dies_again_and_again_ends_the_run(tmp_path: Path) -> None:
    config = asking(tmp_path, stdio(max_restarts=2), ("die", {}), limits={"max_concurrency": 1})
    lines = await run_here(config, *({} for _ in range(20)))
    assert len(lines) == 3  # each had its one death; the fourth item stays to do


async def test_a_server_that_does_not_come_back_ends_the_run(tmp_path: Path) -> None:
    shutil.copy(FAKE, tmp_path / "fake.py")
    server = {"command": sys.executable, "args": ["fake.py", "once"]}
    lines = await run_here(
        asking(tmp_path, server, ("die", {}), limits={"max_concurrency": 1}), *({} for _ in range(9))
    )
    assert len(lines) == 1


async def test_a_server_over_http_that_comes_back_is_asked_again(tmp_path: Path, http: dict[str, Any]) -> None:
    (line,) = await run_here(asking(tmp_path, http, ("die", {})), {})
    assert line["output"].startswith("Error: the MCP server fake ended during the call: ")


async def test_a_call_that_takes_too_long_is_left(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(asking(tmp_path, stdio(timeout="200ms"), ("slow", {"n": 30}), ("echo", {"text": "x"})))
    assert line["output"] == "Error: fake_slow worked for longer than its timeout of 0.2 s|x"


async def test_long_results_are_cut_and_endless_ones_end_the_server(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(asking(tmp_path, stdio(max_output=100), ("long", {"n": 5000})))
    assert line["output"] == f"{'y' * 100}\n[truncated: 4,900 more characters]"
    line = await line_of(asking(tmp_path, stdio(), ("flood", {"n": 200})))
    assert line["output"].startswith("Error: the MCP server fake ended during the call")


async def test_an_answer_over_http_that_is_endless_is_left(
    tmp_path: Path, line_of: LineOf, http: dict[str, Any]
) -> None:
    line = await line_of(asking(tmp_path, http, ("long", {"n": 17 << 20}), ("echo", {"text": "x"})))
    assert "its answer is longer than 16 MB" in line["output"]
    assert line["output"].endswith("|x")


async def test_an_answer_that_is_none_is_told(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(asking(tmp_path, stdio(), ("broken", {}), ("echo", {"text": "x"})))
    assert line["output"].startswith("Error: the server's answer can't be used")
    assert line["output"].endswith("|x")


async def test_its_environment_is_clean(tmp_path: Path, line_of: LineOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    line = await line_of(asking(tmp_path, stdio(env={"MODE": "test"}), ("env", {})))
    found = json.loads(line["output"])
    assert set(found) - {"LC_CTYPE"} <= {"PATH", "HOME", "LANG", "TMPDIR", "MODE", "AGENTBATCH_MARK"}
    assert found["MODE"] == "test"


async def test_it_runs_where_the_config_says(tmp_path: Path, line_of: LineOf) -> None:
    (tmp_path / "there").mkdir()
    assert (await line_of(asking(tmp_path, stdio(), ("cwd", {}))))["output"] == str(tmp_path.resolve())
    line = await line_of(asking(tmp_path, stdio(cwd="there"), ("cwd", {})))
    assert line["output"] == str((tmp_path / "there").resolve())


@pytest.mark.parametrize(
    ("server", "tools", "words"),
    [
        (stdio("dies"), ["fake"], "mcp_servers.fake: it does not start: .*exit code 3: no licence found"),
        ({"command": "no-such-program"}, ["fake"], "it does not start: no-such-program: no such command"),
        (stdio("silent", start_timeout="300ms"), ["fake"], "did not answer within 0.3 s"),
        (stdio(), ["fake.ecko"], "the server has no tool 'ecko', did you mean 'echo'.; it has echo, env"),
        ({"url": "http://127.0.0.1:9/mcp"}, ["fake"], "it does not start: .*connection"),
    ],
)
async def test_what_is_wrong_with_a_server_is_said_before_any_call(
    tmp_path: Path, server: dict[str, Any], tools: list[str], words: str
) -> None:
    config = asking(tmp_path, server, ("echo", {"text": "x"}), tools=tools)
    with pytest.raises(ConfigError, match=words):
        await run_here(config, {}, {})


async def test_a_refused_key_is_said_and_not_shown(tmp_path: Path, http: dict[str, Any]) -> None:
    config = asking(tmp_path, {**http, "headers": {"Authorization": "Bearer ${FAKE_KEY}wrong"}}, ("pid", {}))
    with pytest.raises(ConfigError, match="HTTP 401") as refused:
        await run_here(config, {})
    assert KEY not in str(refused.value)


def test_schemas_that_lead_elsewhere_or_are_none_allow_everything() -> None:
    nothing = {"type": "object", "properties": {}}
    assert told_schema({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}) == nothing
    assert told_schema({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}) == nothing
    assert told_schema({"properties": {"a": {"$ref": "#/$defs/b"}}}) == nothing
    assert told_schema({"properties": {"a": {"type": "nonsense"}}}) == nothing
    assert told_schema({"type": "array"}) == nothing
    good = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}}
    assert told_schema(good) == good


def test_names_are_those_that_providers_take() -> None:
    assert name_for_model("clock", "get_time") == "clock_get_time"
    assert name_for_model("a", "odd.schema/name") == "a_odd_schema_name"
    long = [name_for_model("server", "x" * 70 + end) for end in "ab"]
    assert [len(name) for name in long] == [64, 64]
    assert long[0] != long[1]


def test_nothing_of_it_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    asking(tmp_path, stdio(), ("pid", {}))
    code = (
        "import sys; from agentbatch.config import load; load('config.yaml'); import agentbatch.build; "
        "print([name for name in sys.modules if name.split('.')[0] in ('mcp', 'mcp_types', 'anyio')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_without_the_package_a_run_says_what_to_install(tmp_path: Path) -> None:
    asking(tmp_path, stdio(), ("pid", {}))
    (tmp_path / "in.jsonl").write_text("{}\n")
    code = (
        "import sys; sys.modules['mcp_types'] = sys.modules['mcp'] = None; from agentbatch.__main__ import main; main()"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run([*run, "validate", "config.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    done = subprocess.run(
        [*run, "run", "config.yaml", "in.jsonl", "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "mcp_servers.fake: MCP servers need another package: pip install 'agentbatch[mcp]'" in done.stderr


async def test_a_killed_runs_servers_end_with_the_next_run(tmp_path: Path) -> None:
    server = {"command": "sh", "args": ["-c", f"sleep 300 & echo $! > child; exec {sys.executable} {FAKE}"]}
    asking(tmp_path, server, ("slow", {"n": 100}))
    (tmp_path / "in.jsonl").write_text("{}\n")
    words = [sys.executable, "-m", "agentbatch", "run", "config.yaml", "in.jsonl", "-q"]
    run = await asyncio.create_subprocess_exec(*words, cwd=tmp_path, start_new_session=True)
    async with asyncio.timeout(60):
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
            await asyncio.sleep(0.02)
    child = int((tmp_path / "child").read_text())
    os.killpg(run.pid, signal.SIGKILL)
    await run.wait()
    assert alive(child)
    await run_here(asking(tmp_path, stdio(), ("pid", {})), {})
    assert not alive(child)


def agentbatch(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "in.jsonl").write_text("{}\n")
    run = [sys.executable, "-m", "agentbatch", "run", "config.yaml", "in.jsonl", *words]
    env = {**os.environ, **environ}
    return subprocess.run(run, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_a_key_that_a_server_gives_away_is_found_nowhere(tmp_path: Path) -> None:
    server = stdio(env={"SERVICE_TOKEN": "${FAKE_KEY}", "MODE": "test"})
    asking(tmp_path, server, ("env", {}), trace={"content": True})
    done = agentbatch(tmp_path, "-v", "--log-file", "run.log", FAKE_KEY=KEY)
    assert done.returncode == 0
    (line,) = (tmp_path / "in.results.jsonl").read_text().splitlines()
    assert "[redacted]" in line
    written = [path.read_bytes() for path in tmp_path.iterdir() if path.name != "config.yaml"]
    assert [data for data in (*written, done.stderr.encode()) if KEY.encode() in data] == []


def test_headers_are_secrets_whatever_their_variable_is_called(tmp_path: Path) -> None:
    server = {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Route": "${FAKE_KEY}"}}
    assert KEY in asking(tmp_path, server, ("pid", {})).secrets


def test_a_recorded_run_is_replayed_without_its_servers(tmp_path: Path) -> None:
    shutil.copy(FAKE, tmp_path / "fake.py")
    asking(tmp_path, {"command": sys.executable, "args": ["fake.py"]}, ("pid", {}))
    assert agentbatch(tmp_path, "--record", "tape.jsonl").returncode == 0
    recorded = json.loads((tmp_path / "in.results.jsonl").read_text())["output"]
    (tmp_path / "fake.py").unlink()
    done = agentbatch(tmp_path, "--replay", "tape.jsonl", "-o", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "again.jsonl").read_text())["output"] == recorded


async def test_a_server_over_http_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, str(FAKE), "http", f"port={port}", "restarts"]
    keeper = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert keeper.stdout is not None
    keeper.stdout.readline()
    server = {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"Authorization": "Bearer ${FAKE_KEY}"}}
    try:
        config = asking(tmp_path, server, ("die", {}), limits={"max_concurrency": 1})
        lines = await run_here(config, {}, {})
    finally:
        os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
        keeper.stdout.close()
    assert len(lines) == 2
    for line in lines:
        assert line["output"].startswith("Error: the MCP server fake ended during the call: ")


REAL = {
    "time": (["mcp-server-time", "--local-timezone", "UTC"], "get_current_time", {"timezone": "UTC"}, "day_of_week"),
    "everything": (["mcp-server-everything", "stdio"], "get-sum", {"a": 2, "b": 3}, "5"),
    "filesystem": (["mcp-server-filesystem", "."], "read_text_file", {"path": "note.txt"}, "a note"),
}


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program} in PATH")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
async def test_real_servers_over_stdio(tmp_path: Path, name: str) -> None:
    (program, *args), tool, arguments, words = REAL[name]
    (tmp_path / "note.txt").write_text("a note")
    config = asking(tmp_path, {"command": needs(program), "args": args}, (tool, arguments), tools=[f"fake.{tool}"])
    lines = await run_here(config, *({} for _ in range(50)))
    assert all(words in line["output"] for line in lines)


@pytest.mark.slow
async def test_a_real_server_over_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = needs("mcp-server-everything")
    environ = {**os.environ, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(program, "streamableHttp", env=environ, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"listening" not in (await process.stderr.readline()):
                pass
        calls = [
            ("get-sum", {"a": 2, "b": 3}),
            ("get-tiny-image", {}),
            ("get-structured-content", {"location": "Chicago"}),
        ]
        lines = await run_here(
            asking(tmp_path, {"url": f"http://127.0.0.1:{port}/mcp"}, *calls), *({} for _ in range(50))
        )
    finally:
        process.kill()
        await process.wait()
    for line in lines:
        total, image, weather = line["output"].split("|")
        assert "5" in total
        assert "[image: image/png, " in image
        assert json.loads(weather)["temperature"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["../secret.txt", "{outside}/secret.txt", "/proc/self/environ", "link", "sub/../../secret.txt"]
)
async def test_a_real_file_server_stays_in_its_folder(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("the canary")
    (inside / "link").symlink_to(tmp_path / "secret.txt")
    server = {"command": needs("mcp-server-filesystem"), "args": ["inside"]}
    asked = path.replace("{outside}", str(tmp_path))
    (line,) = await run_here(asking(tmp_path, server, ("read_text_file", {"path": asked})), {})
    assert line["output"].startswith("Error: ")
    assert "canary" not in line["output"]
