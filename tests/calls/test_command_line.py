"""Commands as a config writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentbatch.calls.command_line import CommandFields, CommandLine
from agentbatch.errors import CommandFault
from agentbatch.transports.command import Captured, Ended


def line_of(folder: Path = Path("/base"), **fields: Any) -> CommandLine:
    return CommandLine.of(CommandFields.model_validate(fields), "tools.t", folder)


def test_each_template_makes_one_argument() -> None:
    names = {"args": {"x": "a b; $(id)\n'\"", "none": ""}}
    line = line_of(command=["grep", "-e", "{{ args.x }}", "{{ args.none }}", "x={{ args.x }}"], stdin="<{{ args.x }}>")
    command = line.render(names, Path("/tmp"))
    assert list(command.argv) == ["grep", "-e", names["args"]["x"], "", f"x={names['args']['x']}"]
    assert command.stdin == f"<{names['args']['x']}>".encode()
    assert command.cwd == Path("/tmp")


def test_a_program_with_a_slash_stands_beside_the_config() -> None:
    assert line_of(command=["./bin/run"]).render({}, None).argv[0] == "/base/bin/run"
    assert line_of(command=["/bin/ls"]).render({}, None).argv[0] == "/bin/ls"
    assert line_of(command=["ls"]).render({}, None).argv[0] == "ls"


def test_a_shell_line_is_no_template_and_gets_arguments() -> None:
    line = line_of(command=['echo "$1" | wc -c', "{{ args.x }}"], shell=True)
    assert list(line.render({"args": {"x": "$(id)"}}, None).argv) == [
        "/bin/sh",
        "-c",
        'echo "$1" | wc -c',
        "sh",
        "$(id)",
    ]
    with pytest.raises(ValueError, match='Write "\\$1" there'):
        line_of(command=["echo {{ args.x }}"], shell=True)


def test_a_nul_is_refused_before_anything_is_started() -> None:
    with pytest.raises(CommandFault, match="NUL"):
        line_of(command=["echo", "{{ args.x }}"]).render({"args": {"x": "a\0b"}}, None)
    with pytest.raises(CommandFault, match="NUL"):
        line_of(command=["echo"], env={"A": "{{ args.x }}"}).render({"args": {"x": "a\0b"}}, None)


def test_the_environment_has_only_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary")
    env = line_of(command=["env"], env={"A": "{{ input }}"}).render({"input": "x"}, None).env
    assert env["A"] == "x"
    assert "CANARY_KEY" not in env
    assert line_of(command=["env"], env=["CANARY_KEY"]).render({}, None).env["CANARY_KEY"] == "canary"


def test_exit_codes_are_judged_as_the_config_says() -> None:
    line = line_of(command=["grep"], ok_codes=[0, 1])
    line.check(Ended(1, Captured(b""), Captured(b"")))
    with pytest.raises(CommandFault, match="exit code 2: its end"):
        line.check(Ended(2, Captured(b"out"), Captured(b"its end\n")))
    with pytest.raises(CommandFault, match="killed by signal 9: out"):
        line.check(Ended(-9, Captured(b"out"), Captured(b"")))


def test_a_missing_program_is_found_when_the_config_is_loaded(tmp_path: Path) -> None:
    def faults(**fields: Any) -> list[tuple[str, str]]:
        return list(CommandFields.model_validate(fields).command_faults(tmp_path))

    (tmp_path / "there").touch(mode=0o755)
    (tmp_path / "no_program").touch(mode=0o644)
    assert faults(command=["ls"]) == faults(command=["./there"]) == faults(command=["{{ input.x }}"]) == []
    assert faults(command=["lss"]) == [("command", "there is no program 'lss' in PATH that can be run")]
    for name in ("./no_program", "./none"):
        assert faults(command=[name])[0][0] == "command"
