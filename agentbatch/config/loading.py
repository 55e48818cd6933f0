"""The config: what a YAML file may say, and the checked `Config` that comes of it, or every problem at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, PrivateAttr

from agentbatch.agents.base import AgentConfig
from agentbatch.checks.config import CheckConfig, ThresholdConfig
from agentbatch.config.engine import EngineConfig
from agentbatch.config.environment import AskedVariables, StandIns, of_nodes, read_dotenv
from agentbatch.config.keys import KEY_VARIABLES
from agentbatch.config.problems import Problem, SourceText, report
from agentbatch.config.sections import read_sections
from agentbatch.config.shape import config_shape
from agentbatch.config.source import MAX_FILE_BYTES, ConfigSource, Origin, ReadConfig, read_config
from agentbatch.config.templates import TemplateUse
from agentbatch.errors import ConfigError
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.hooks.config import HooksConfig
from agentbatch.models.base import ModelConfig
from agentbatch.models.credentials import BaseUrl
from agentbatch.settings import Duration, Name, PositiveInt, Settings, StepName, TemplateText, ToolName
from agentbatch.stop_rules import FailureAllowance
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.mcp_config import McpServerConfig


class Defaults(Settings):
    """What holds for every model that does not say otherwise."""

    timeout: Duration | None = None
    """One attempt, from sending to the last byte. Default: 60 s."""
    retries: int | None = Field(default=None, ge=0)
    """Attempts after the first. Default: 4."""


def _check_max_failures(value: int | str | None) -> int | str | None:
    FailureAllowance.parse(value)
    return value


class Breaker(Settings):
    """What ends the run because it can come to nothing. A refused key and an empty account always do."""

    same_error: int = Field(default=20, ge=0)
    """So many items in a row that fail alike at one agent, with none in between at which it does well, end the run;
    they stay to do. Alike are errors that differ in numbers and ids only. What is about the endpoint (rate limits,
    timeouts, faults of the server) or about one input (`content_filter`, `context_length`) does not count. 0: never."""


class Limits(Settings):
    """What ends the run early, and what one item may take."""

    max_cost: float | None = Field(default=None, ge=0)
    """US dollars of the whole run: it stops before it spends more."""
    max_failures: Annotated[int | str | None, AfterValidator(_check_max_failures)] = None
    """Failed items that are accepted, as a number or `5%`: with more, the run stops."""
    item_timeout: Duration | None = None
    """How long one item may be worked on."""
    max_concurrency: PositiveInt | None = None
    """Items in flight at once. Default: as many as the models can serve."""
    timeout: Duration | None = None
    """How long the whole run may take."""
    deadline: Duration | None = None
    """By when the run should be done: batches of `provider_batch` as long as there is time, ordinary requests for what
    they would bring too late. It stops nothing."""
    breaker: Breaker = Breaker()
    """When to end a run that can come to nothing."""
    shared: str | None = None
    """A file, relative to the config, by which several runs on one machine keep `rpm`, `tpm` and `max_concurrency` of
    their models together: models with the same server, key and name share them."""


class CacheConfig(Settings):
    """Answers to exactly the same requests, shared by runs. Off unless this section is there."""

    enabled: bool = True
    """Whether it is used."""
    ttl: Duration | None = None
    """How old an answer may be. Default: any age."""
    path: str | None = None
    """The SQLite file, relative to the config. Default: `agentbatch/responses.sqlite` in the user's cache folder."""


class OutputConfig(Settings):
    """What a result line holds beside its output."""

    include: list[Literal["agents", "usage"]] = Field(default_factory=lambda: ["agents", "usage"])
    """`agents`: how each agent did, by name. `usage`: tokens, requests and cost of the whole item."""


class TraceConfig(Settings):
    """What traces hold, and where else they go."""

    content: bool = False
    """Prompts and answers too."""
    otlp: bool | BaseUrl | None = None
    """Also send spans and metrics to an OpenTelemetry collector: its URL, as `http://127.0.0.1:4318`, or `true` for the
    one that the `OTEL_EXPORTER_OTLP_*` variables name. Default: if they name one. Needs `agentbatch[otel]`."""


class Config(Settings):
    """A batch run: the models, the agents that ask them, and the order in which they work."""

    version: Literal[1]
    """Of this format."""
    defaults: Defaults = Defaults()
    """For models that do not say otherwise."""
    models: dict[str, ModelConfig] = Field(default_factory=dict[str, ModelConfig])
    """Who answers, by name."""
    agents: dict[str, AgentConfig] = Field(default_factory=dict[str, AgentConfig])
    """Who asks, by name; templates see an agent's answer as `NAME.output`."""
    groups: dict[str, GroupConfig] = Field(default_factory=dict[str, GroupConfig])
    """How agents work together, by name; a group can stand wherever an agent can."""
    tools: dict[str, ToolConfig] = Field(default_factory=dict[str, ToolConfig])
    """What agents can have done, by name: Python functions, commands, HTTP requests, other agents."""
    mcp_servers: dict[str, McpServerConfig] = Field(default_factory=dict[str, McpServerConfig])
    """MCP servers whose tools agents may have, by name, as in a `.mcp.json`: an agent's `tools` name the server, or
    `SERVER.TOOL`, or several as `SERVER.get_*`. A model knows `clock.get_time` as `clock_get_time`."""
    toolsets: dict[Name, list[ToolName]] = Field(default_factory=dict[Name, list[ToolName]])
    """Names for several tools together; an agent's `tools` can name them."""
    vars: dict[Name, TemplateText] = Field(default_factory=dict[Name, TemplateText])
    """Values computed once per item, as `vars.NAME`."""
    workflow: StepName | Annotated[list[Member], Field(min_length=1)] | None = None
    """Where an item enters: an agent, a group, or a list of them, one after the other. Default: every agent."""
    checks: dict[Name, CheckConfig] = Field(default_factory=dict[Name, CheckConfig])
    """Checks of the workflow's output, by name. Their verdicts stand in the result lines."""
    thresholds: dict[str, ThresholdConfig] = Field(default_factory=dict[str, ThresholdConfig])
    """What checks must come to over the whole run, by their names; an agent's as `AGENT.CHECK`. Missed: exit code 1."""
    hooks: HooksConfig = HooksConfig()
    """Functions that look at what is sent and what comes, and may change or refuse it."""
    limits: Limits = Limits()
    """What ends the run early."""
    cache: CacheConfig = CacheConfig(enabled=False)
    """The response cache."""
    output: OutputConfig = OutputConfig()
    """The result lines."""
    trace: TraceConfig = TraceConfig()
    """The trace file."""
    engine: EngineConfig = EngineConfig()
    """Where the items run."""
    _notes: tuple[str, ...] = PrivateAttr(default=())
    _secrets: tuple[str, ...] = PrivateAttr(default=())
    _templates: tuple[TemplateUse, ...] = PrivateAttr(default=())
    _origin: Origin | None = PrivateAttr(default=None)
    _source: ConfigSource | None = PrivateAttr(default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the config was read, with its place."""
        return self._notes

    @property
    def folder(self) -> Path:
        """Where its file stands; the current folder for a config that was not loaded from a file."""
        return Path() if self._origin is None else self._origin.folder

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not leave the process: keys, and environment variables named like one."""
        return self._secrets

    @property
    def templates(self) -> tuple[TemplateUse, ...]:
        """Every template and condition, with what it reads."""
        return self._templates

    @property
    def origin(self) -> Origin | None:
        """Where each part was written; None for a config that was not loaded from a file."""
        return self._origin

    @property
    def source(self) -> ConfigSource | None:
        """All that another machine needs to load the same; None for a config that was not loaded from a file."""
        return self._source


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    *,
    only_check: bool = False,
    serverless: bool = False,
    requests: bool = False,
) -> Config:
    """Read and check a config.

    Args:
        path: the YAML file.
        overrides: `KEY=VALUE`: a dotted path and a value in YAML, as `--set` takes them.
        environ: the environment; default: the process's. A `.env` beside the config stands behind it.
        only_check: it is not going to be run: something stands in for a variable that is not set, and a note says so.
        serverless: no model will be asked: no key is needed, and the models' variables may be missing.
        requests: the inputs are requests; a config without agents sends them to its only model.

    Raises:
        ConfigError: the message holds every problem, each with its place, the line, and a mend.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        given = {**read_dotenv(path.parent / ".env"), **(os.environ if environ is None else environ)}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    given = {**of_nodes(text), **given}
    stand_ins = StandIns({**dict.fromkeys(KEY_VARIABLES.values(), "stands-in-for-a-key"), **given})
    asked = AskedVariables(given)
    variables = stand_ins if only_check or serverless else asked
    read = read_config(path, text, variables, overrides, serverless=serverless)
    data: Any = read.data
    if not isinstance(data, dict):
        raise ConfigError(report(read.problems or [_nothing_in(read)]))
    if requests:
        _add_request_agent(cast("dict[str, Any]", data))
    sections = read_sections(Config, cast("dict[str, Any]", data), read.origin, variables)
    known = {problem.where for problem in read.problems if problem.where}  # what follows from those is no news
    problems = [*read.problems, *(problem for problem in sections.problems if problem.where not in known)]
    if problems or sections.config is None:
        raise ConfigError(report(problems))
    config = sections.config
    unset = tuple(f"{message} (a run needs it)" for message in stand_ins.missing.values() if only_check)
    config._notes, config._secrets = (*sections.notes, *unset), sections.secrets  # pyright: ignore[reportPrivateUsage]
    config._templates, config._origin = sections.templates, read.origin  # pyright: ignore[reportPrivateUsage]
    config._source = ConfigSource(path, tuple(overrides), asked.asked)  # pyright: ignore[reportPrivateUsage]
    return config


def _add_request_agent(data: dict[str, Any]) -> None:
    """One model and nobody who asks it: the agent is the one that sends requests as they are."""
    models = data.get("models")
    if "agents" not in data and isinstance(models, dict) and len(cast("dict[str, Any]", models)) == 1:
        data["agents"] = {"request": {"kind": "request", "model": next(iter(cast("dict[str, Any]", models)))}}


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `agentbatch init` writes a config to begin with") from None
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


__all__ = ["Config", "Defaults", "Limits", "OutputConfig", "TraceConfig", "config_shape", "load"]
