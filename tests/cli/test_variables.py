"""Every option of `run` can be given by its variable."""

from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from agentbatch.cli.app import app
from agentbatch.cli.variables import variable_of

COMMANDS: Any = get_command(app)
RUN = COMMANDS.commands["run"]
OPTIONS = [option for option in RUN.params if isinstance(option, TyperOption) and "--help" not in option.opts]


def params(*words: str, **variables: str) -> dict[str, Any]:
    """What `run` makes of a command line and an environment."""
    with CliRunner().isolation(env=variables):
        return RUN.make_context("run", ["c.yaml", "in.jsonl", *words]).params


def value_of(option: Any) -> str:
    """A value that the option takes: a text with a blank, if it may be one."""
    for value in ("some thing", "7", "openai-batch", "ray"):
        try:
            params(option.opts[-1], value)
        except Exception:  # whatever the library raises for a value that does not fit
            continue
        return value
    return "json"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[-1])
def test_a_variable_says_what_the_option_does(option: Any) -> None:
    spelling = option.opts[-1]
    typed = params(spelling) if option.is_flag else params(spelling, value_of(option))
    assert typed[option.name] != params()[option.name]
    assert params(**{variable_of(option.opts): "1" if option.is_flag else value_of(option)}) == typed


@pytest.mark.parametrize("option", [each for each in OPTIONS if each.secondary_opts], ids=lambda each: each.opts[-1])
def test_so_does_that_of_a_switch_s_other_name(option: Any) -> None:
    on, off = variable_of(option.opts), variable_of(option.secondary_opts)
    assert params(**{on: "1", off: "yes"})[option.name] is False
    assert params(option.opts[-1], **{off: "1"})[option.name] is True, "what is typed comes first"
    assert params(**{off: "0"}) == params(**{off: ""}) == params()


@pytest.mark.parametrize("command", ["run", "validate", "plan"])
def test_settings_stand_in_lines_and_may_have_blanks(tmp_path: Path, command: str) -> None:
    (tmp_path / "c.yaml").write_text("version: 1\nmodels: {m: {provider: mock}}\nagents: {a: {model: m, prompt: p}}\n")
    (tmp_path / "in.jsonl").write_text("1\n")
    words = [
        command,
        str(tmp_path / "c.yaml"),
        *([str(tmp_path / "in.jsonl"), "--dry-run"] if command == "run" else []),
    ]
    fine = {"AGENTBATCH_SET": "\nagents.a.prompt=Write a poem\n  limits.max_cost=5\n"}
    assert CliRunner().invoke(app, words, env=fine).exit_code == 0
    wrong = CliRunner().invoke(app, words, env={"AGENTBATCH_SET": "agents.a.prompt=Write {{ a poem }}"})
    assert "Write {{ a poem }}" in str(wrong.exception)


def test_a_switch_s_variable_says_yes_or_no() -> None:
    done = CliRunner().invoke(app, ["run", "c.yaml", "in.jsonl"], env={"AGENTBATCH_RESUME": "maybe"})
    assert done.exit_code == 2
    assert "AGENTBATCH_RESUME=maybe: expected 1 or 0" in done.output
