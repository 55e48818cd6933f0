"""The checked config: what each section of a YAML file may say, and what is known of how it was read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from agentbatch.agents.base import AgentConfig
from agentbatch.checks.config import CheckConfig, ThresholdConfig
from agentbatch.config.engine import EngineConfig
from agentbatch.config.source import ConfigSource, Origin
from agentbatch.config.templates import TemplateUse
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


def _check_canary(value: int | None) -> int | None:
    if value == 1:
        raise ValueError("expected 2 or more, as one item says nothing of how much they differ, or 0 for no canary")
    return value or None


class Limits(Settings):
    """What ends the run early, and what one item may take."""

    max_cost: float | None = Field(default=None, ge=0)
    """US dollars of the whole run: it stops before it spends more."""
    canary: Annotated[Annotated[int, Field(ge=0)] | None, AfterValidator(_check_canary)] = None
    """Pay for so many items first, spread over the inputs, then say what the others will cost and take, and go on only
    if that fits `max_cost` and no more of them failed than `max_failures` allows (without it: half). 0: none."""
    item_max_cost: float | None = Field(default=None, ge=0)
    """US dollars of one item: it fails, with the error `max_cost`, before a request that could take it past them."""
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
