"""Programs as tools: hostile arguments, floods, hangs, and what the model is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from running import LineOf
from workflow import config_of

from agentbatch.errors import ConfigError


def one_call(folder: Path, tool: dict[str, Any], arguments: dict[str, Any] | None = None) -> Any:
    """A config whose agent calls its only tool once and answers with what it was told."""
    model = {
        "provider": "mock",
        "tool_calls": [{"name": "t", "arguments": arguments or {}}],
        "reply": "{{ messages[-1].content }}",
    }
    return config_of(
        folder, {"a": {"model": "m", "prompt": "go", "tools": ["t"]}}, models={"m": model}, tools={"t": tool}
    )


async def test_text_goes_in_by_stdin_and_comes_back(tmp_path: Path, line_of: LineOf) -> None:
    tool = {"command": ["wc", "-w"], "stdin": "{{ args.text }}", "parameters": {"text": "string"}}
    line = await line_of(one_call(tmp_path, tool, {"text": "three small words"}))
    assert line["output"].strip() == "3"


HOSTILE = [
    "$(touch owned)",
    "; touch owned",
    "`touch owned`",
    "| touch owned",
    "\n touch owned",
    "--version",
    "../../../etc",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_an_argument_is_never_a_command(tmp_path: Path, line_of: LineOf, text: str) -> None:
    for command in (["printf", "%s", "{{ args.x }}"], ['printf "%s" "$1"', "{{ args.x }}"]):
        tool = {"command": command, "parameters": {"x": "string"}, "shell": len(command) == 2}
        line = await line_of(one_call(tmp_path, tool, {"x": text}))
        assert line["output"] == text.rstrip("\n")
        assert not (tmp_path / "owned").exists()


async def test_a_nul_is_told_to_the_model(tmp_path: Path, line_of: LineOf) -> None:
    tool = {"command": ["printf", "%s", "{{ args.x }}"], "parameters": {"x": "string"}}
    line = await line_of(one_call(tmp_path, tool, {"x": "{{ '\\0' }}"}))
    assert line["output"] == "Error: an argument holds a NUL character: no program can be given one"


async def test_a_failure_is_told_with_the_end_of_what_it_said(tmp_path: Path, line_of: LineOf) -> None:
    line = await line_of(one_call(tmp_path, {"command": ["echo out; echo why >&2; exit 3"], "shell": True}))
    assert line["output"] == "Error: exit code 3: why"
    line = await line_of(one_call(tmp_path, {"command": ["echo out; exit 3"], "shell": True, "ok_codes": [0, 3]}))
    assert line["output"] == "out"


async def test_a_hanging_command_dies_at_the_timeout_and_the_item_goes_on(tmp_path: Path, line_of: LineOf) -> None:
    tool = {"command": ["setsid sleep 100.0431 & sleep 100.0431"], "shell": True, "timeout": "300ms"}
    began = time.perf_counter()
    line = await line_of(one_call(tmp_path, tool))
    assert line["output"] == "Error: t worked for longer than its timeout of 0.3 s"
    assert time.perf_counter() - began < 1.3
    deadline = time.perf_counter() + 5
    while any(b"100.0431" in cmdline(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        assert time.perf_counter() < deadline


def cmdline(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_flood_is_cut_with_a_marker(tmp_path: Path, line_of: LineOf) -> None:
    tool = {"command": ["head", "-c", "50000000", "/dev/zero"], "max_output": 100}
    line = await line_of(one_call(tmp_path, tool))
    assert line["output"].startswith("\0" * 100)
    assert "[truncated: " in line["output"]
    assert len(line["output"]) < 200


async def test_json_is_read_and_a_part_of_it_taken(tmp_path: Path, line_of: LineOf) -> None:
    tool = {"command": ["echo", '{"a": {"b": [1, 2]}}'], "output": "a.b"}
    assert (await line_of(one_call(tmp_path, tool)))["output"] == "[1,2]"
    assert (await line_of(one_call(tmp_path, {**tool, "output": "a.c"})))["output"].startswith(
        "Error: the command's output: there is no 'c' in a"
    )


async def test_it_runs_beside_the_config_and_sees_no_key(
    tmp_path: Path, line_of: LineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-of-this-test")
    line = await line_of(one_call(tmp_path, {"command": ["pwd; env; cat /proc/self/environ"], "shell": True}))
    assert line["output"].startswith(f"{tmp_path}\n")
    assert "canary" not in line["output"]


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"command": ["no-such-program"]}, "there is no program 'no-such-program' in PATH"),
        ({"command": []}, "must not be empty"),
        ({"command": "ls -l"}, "expected a list"),
        ({"command": ["echo {{ args.x }}"], "shell": True}, "a shell line is no template"),
        ({"command": ["ls"], "cwd": "none"}, "there is no folder 'none'"),
        ({"command": ["ls", "{{ argz.x }}"]}, "did you mean 'args'"),
        ({"command": ["ls", "{{ args.y }}"], "parameters": {"x": "string"}}, "no field 'y' in args"),
        ({"command": ["ls"], "env": ["NO_SUCH_VARIABLE_HERE"]}, "NO_SUCH_VARIABLE_HERE is not set"),
    ],
)
def test_what_can_not_work_is_found_when_the_config_is_loaded(tmp_path: Path, tool: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        one_call(tmp_path, tool)
