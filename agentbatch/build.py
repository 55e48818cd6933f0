"""From names to objects: the one place where a checked config becomes endpoints, agents, flows, and the root step."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentbatch import agents, flows, models
from agentbatch.control import Control
from agentbatch.endpoint import Endpoint, EndpointSettings
from agentbatch.errors import RunStopped
from agentbatch.flows.base import GroupConfig, MemberConfig
from agentbatch.flows.sequence import SequenceFlow
from agentbatch.limits import Budget, Limiter
from agentbatch.models.base import HttpModelConfig, Model, ModelConfig
from agentbatch.prices import Tariff, published_tariff, rates
from agentbatch.retry import RetryPolicy
from agentbatch.step import Runnable, Step
from agentbatch.templates import NOT_RUN
from agentbatch.transports.base import HttpTransport
from agentbatch.transports.http import open_transport

if TYPE_CHECKING:
    from agentbatch.config import Config

_DEFAULT_TIMEOUT_S = 60.0
_DEFAULT_RETRIES = 4


class Workshop:
    """Builds the steps of one run, each object once. Close it to close every connection.

    Attributes:
        root: what an item enters.
        endpoints: the models in use, by name.
        names: what every scope begins with: each declared agent and group, not yet run.
    """

    def __init__(self, config: Config, control: Control, budget: Budget) -> None:
        self.config = config
        self.control = control
        self.budget = budget
        self.endpoints: dict[str, Endpoint] = {}
        self.limiters: list[Limiter] = []
        self._transports: dict[str, HttpTransport] = {}
        self._steps: dict[str, Step] = {}
        control.on_stop(self._turn_away)
        self.names: Mapping[str, Any] = dict.fromkeys((*config.agents, *config.groups), NOT_RUN)
        self.root = self._root(config.workflow)

    async def close(self) -> None:
        """Close what was opened."""
        for transport in self._transports.values():
            await transport.close()

    def _turn_away(self) -> None:
        """The run stops: nobody in a queue will be served."""
        for limiter in self.limiters:
            limiter.turn_away(RunStopped(self.control.reason or ""))

    def endpoint(self, model: str) -> Endpoint:
        """The model of that name, with its limits."""
        if model not in self.endpoints:
            settings = self.config.models[model]
            self.endpoints[model] = Endpoint(
                self._model(settings), self._endpoint_settings(model, settings), self.control, self.budget
            )
        return self.endpoints[model]

    def limiter(
        self, owner: str, *, max_concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None
    ) -> Limiter:
        """New limits for an agent."""
        limiter = Limiter(owner, max_concurrency=max_concurrency, rpm=rpm, tpm=tpm)
        if not limiter.unlimited:
            self.limiters.append(limiter)
        return limiter

    def steps(self, members: list[str | MemberConfig | GroupConfig]) -> tuple[Step, ...]:
        """The steps a group's members stand for: one each, or as many as there are copies."""
        return tuple(step for member in members for step in self._member(member))

    def _root(self, workflow: str | list[str | MemberConfig | GroupConfig] | None) -> Runnable:
        """What an item enters: a sequence without a name, which is in nobody's way."""
        if workflow is None:
            return SequenceFlow(self.steps(list(self.config.agents)))
        return SequenceFlow(self.steps([workflow] if isinstance(workflow, str) else workflow))

    def _member(self, member: str | MemberConfig | GroupConfig) -> list[Step]:
        if isinstance(member, str):
            return [self._named(member)]
        if isinstance(member, GroupConfig):
            return [self._group(member.name or _kind_of(member), member)]
        step = self._named(member.agent)
        if member.copies == 1:
            return [step]
        return [
            Step(f"{step.name}[{number}]", step.runnable, step.span_kind, step.timeout, step.permits, number)
            for number in range(1, member.copies + 1)
        ]

    def _named(self, name: str) -> Step:
        if name not in self._steps:
            if name in self.config.agents:
                self._steps[name] = self._agent(name)
            else:
                self._steps[name] = self._group(name, self.config.groups[name])
        return self._steps[name]

    def _agent(self, name: str) -> Step:
        config = self.config.agents[name]
        module = import_module(agents.KINDS[config.kind][0])
        return Step(name, module.build(config, name, self), "agent", config.timeout)

    def _group(self, name: str, config: GroupConfig) -> Step:
        module = import_module(flows.KINDS[_kind_of(config)][0])
        permits = self.limiter(f"group {name}", max_concurrency=config.max_concurrency).permits
        return Step(name, module.build(config, name, self), "group", config.timeout, permits)

    def _model(self, config: ModelConfig) -> Model:
        provider: str = config.provider  # pyright: ignore[reportAttributeAccessIssue]  # every entry of the table has it
        model_class = models.model_class(provider)
        if not isinstance(config, HttpModelConfig):
            return model_class(config)
        if config.transport not in self._transports:
            self._transports[config.transport] = open_transport(config.transport)
        return model_class(config, self._transports[config.transport])

    def _endpoint_settings(self, name: str, config: ModelConfig) -> EndpointSettings:
        defaults = self.config.defaults
        retries = next((n for n in (config.retries, defaults.retries) if n is not None), _DEFAULT_RETRIES)
        concurrency = 64 if config.max_concurrency == "auto" else config.max_concurrency
        limiter = Limiter(f"model {name}", max_concurrency=concurrency, rpm=config.rpm, tpm=config.tpm)
        self.limiters.append(limiter)
        return EndpointSettings(
            name=name,
            limiter=limiter,
            timeout=config.timeout or defaults.timeout or _DEFAULT_TIMEOUT_S,
            retry=RetryPolicy(retries=retries),
            tariff=_tariff(config),
            params=config.params,
        )


def _kind_of(config: GroupConfig) -> str:
    """A group's kind is the key that tells it, which only its class has."""
    return next(kind for kind in flows.KINDS if kind in type(config).model_fields)


def _tariff(config: ModelConfig) -> Tariff | None:
    if config.price is not None:
        price = config.price
        return Tariff((rates(price.input, price.output, price.cached_input, price.cache_write),))
    if isinstance(config, HttpModelConfig):
        provider: str = config.provider  # pyright: ignore[reportAttributeAccessIssue]  # as above
        return published_tariff(provider, config.model)
    return None
