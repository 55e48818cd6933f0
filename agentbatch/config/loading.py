"""Loading a config: a YAML file, the environment and overrides become a checked `Config`, or every problem at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agentbatch.config.config import Config
from agentbatch.config.environment import STAND_IN, AskedVariables, StandIns, of_nodes, read_dotenv
from agentbatch.config.problems import Problem, SourceText, report
from agentbatch.config.sections import read_sections
from agentbatch.config.source import MAX_FILE_BYTES, ConfigSource, Override, ReadConfig, read_config
from agentbatch.errors import ConfigError
from agentbatch.files.nearby import did_you_mean_file
from agentbatch.placement import Placement

_OF_INPUTS = (".jsonl", ".csv", ".tsv", ".gz")


def load(
    path: str | Path,
    overrides: Sequence[str | Override] = (),
    environ: Mapping[str, str] | None = None,
    *,
    only_check: bool = False,
    serverless: bool = False,
    requests: bool = False,
    here: Placement | None = None,
) -> Config:
    """Read and check a config.

    Args:
        path: the YAML file.
        overrides: `KEY=VALUE`: a dotted path and a value in YAML, as `--set` takes them; or one with how it was said.
        environ: the environment; default: the process's. A `.env` beside the config stands behind it.
        only_check: it is not going to be run: something stands in for a variable that is not set, and a note says so.
        serverless: no model will be asked: no key is needed, and the models' variables may be missing.
        requests: the inputs are requests; a config without agents sends them to its only model.
        here: on a node of a cluster, the placement of the agents that run in this process.

    Raises:
        ConfigError: the message holds every problem, each with its place, the line, and a mend.
    """
    path = Path(path)
    if path.name.lower().endswith(_OF_INPUTS):
        raise ConfigError(f"{path}: is called as inputs are; the config comes first: CONFIG INPUTS")
    text = read_text(path, ". `agentbatch init` writes a config to begin with")
    try:
        given = {**read_dotenv(path.parent / ".env"), **(os.environ if environ is None else environ)}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    given = {**of_nodes(text), **given}
    stand_ins = StandIns(given)
    asked = AskedVariables(given)
    variables = stand_ins if only_check or serverless else asked
    said = [Override(each, f"--set {each}") if isinstance(each, str) else each for each in overrides]
    read = read_config(path, text, variables, said, serverless=serverless)
    data: Any = read.data
    if not isinstance(data, dict):
        raise ConfigError(report(read.problems or [_nothing_in(read)]))
    if requests:
        _add_request_agent(cast("dict[str, Any]", data))
    sections = read_sections(Config, cast("dict[str, Any]", data), read.origin, variables, here)
    known = {problem.where for problem in read.problems if problem.where}  # what follows from those is no news
    problems = [*read.problems, *(problem for problem in sections.problems if problem.where not in known)]
    if problems or sections.config is None:
        raise ConfigError(report(problems))
    config = sections.config
    unset = tuple(f"{message} (a run needs it)" for message in stand_ins.missing.values() if only_check)
    hidden = (*sections.secrets, *_engine_secrets(config, asked))
    config._notes, config._secrets = (*sections.notes, *unset), hidden  # pyright: ignore[reportPrivateUsage]
    config._templates, config._origin = sections.templates, read.origin  # pyright: ignore[reportPrivateUsage]
    config._source = ConfigSource(  # pyright: ignore[reportPrivateUsage]
        path, tuple(each.setting for each in said), asked.asked
    )
    return config


def _engine_secrets(config: Config, environ: Mapping[str, str]) -> list[str]:
    """The values of the variables that `engine.secrets` names, as far as they are known here; they count as asked."""
    values = {name: environ[name] for name in config.engine.secrets if name in environ}
    return [value for name, value in values.items() if value != STAND_IN.format(name)]


def _add_request_agent(data: dict[str, Any]) -> None:
    """One model and nobody who asks it: the agent is the one that sends requests as they are."""
    models = data.get("models")
    if "agents" not in data and isinstance(models, dict) and len(cast("dict[str, Any]", models)) == 1:
        data["agents"] = {"request": {"kind": "request", "model": next(iter(cast("dict[str, Any]", models)))}}


def read_text(path: Path, mend: str = "") -> str:
    """The text of a YAML file. `mend` is said where there is none.

    Raises:
        ConfigError: it can't be read, is too large, or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{did_you_mean_file(path) or mend}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: can't be read: {reason}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES // 1_000_000} MB: this is no config")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text: save the file as UTF-8") from None


def _nothing_in(read: ReadConfig) -> Problem:
    if read.data is None:
        message = "the config is empty: `agentbatch init` writes one to begin with"
        return Problem(message, SourceText(read.origin.text.name))
    return read.origin.problem((), "a config is a mapping, with keys such as models, agents and workflow")
