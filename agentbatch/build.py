"""From names to objects: the one place where a checked config becomes endpoints, agents, flows, and the root step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from agentbatch import agents, flows, models
from agentbatch.agents.asking import AskingConfig
from agentbatch.agents.base import AgentConfig
from agentbatch.agents.function import FunctionConfig
from agentbatch.agents.remote import RemoteConfig
from agentbatch.assembly import Elsewhere
from agentbatch.batches.room import BatchRoom
from agentbatch.build_tools import ToolShop
from agentbatch.checks.checked import with_checks
from agentbatch.config.step_graph import dependencies, name_of, names_set, root_members, shared_names, written_names
from agentbatch.endpoints.answering import OUT_OF_SERVICE, Answering, Door, Link
from agentbatch.endpoints.endpoint import Endpoint, EndpointSettings
from agentbatch.endpoints.pool import EndpointPool, Lane
from agentbatch.endpoints.prices import BatchPrice, Pricing, PublishedTariff, Tariff, rates
from agentbatch.errors import ConfigError, RunStopped
from agentbatch.flows import kind_of
from agentbatch.flows.base import GroupConfig, Member, MemberConfig
from agentbatch.flows.condition import ConditionConfig
from agentbatch.flows.fallback import WithFallback
from agentbatch.flows.for_each import ForEach
from agentbatch.flows.graph import GraphFlow
from agentbatch.flows.parallel import ParallelFlow
from agentbatch.flows.retried import Retried
from agentbatch.flows.sequence import SequenceConfig, SequenceFlow
from agentbatch.hooks.calling import build_hooks
from agentbatch.hooks.on_result import WithResultHook
from agentbatch.items import Item, Output, Scope
from agentbatch.kept.stores import NO_STORES, Stores
from agentbatch.limits import Budget, Limiter, Permits
from agentbatch.models.base import HttpModelConfig, Model, ModelConfig, ReplayedModel, ServedModelConfig
from agentbatch.process.control import Control
from agentbatch.process.descriptors import connections_left, shared_out
from agentbatch.retry import RetryPolicy
from agentbatch.sharing.leases import SharedLimits
from agentbatch.step import NO_TERMS, Bounded, Runnable, Step, Terms
from agentbatch.step_config import DefaultConfig, FallbackConfig, StepConfig
from agentbatch.templates import NOT_RUN, Condition, Value
from agentbatch.text.figures import counted
from agentbatch.transports.base import HttpTransport
from agentbatch.transports.http import TransportKind, open_transport

if TYPE_CHECKING:
    from agentbatch.config import Config

_DEFAULT_TIMEOUT_S = 60.0
_DEFAULT_RETRIES = 4
_AUTO_CEILING = 1000


class Workshop:
    """Builds the steps of one run, each object once. Close it to close every connection.

    Attributes:
        root: what an item enters.
        endpoints: the models in use, by name.
        notes: what a person should know before the run begins.
    """

    def __init__(
        self,
        config: Config,
        control: Control,
        budget: Budget,
        stores: Stores = NO_STORES,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.config = config
        self._elsewhere = elsewhere
        self.batches = BatchRoom(stores.batches, control)
        self.artifacts, self.journal = stores.artifacts, stores.journal
        self.cache, self.tape = stores.cache, stores.tape
        self.control = control
        self.budget = budget
        self.endpoints: dict[str, Endpoint] = {}
        self._answering: dict[str, Answering] = {}
        self._pools: dict[str, EndpointPool] = {}
        self.limiters: list[Limiter] = []
        self._transports: dict[str, HttpTransport] = {}
        self.notes: list[str] = []
        self._connections = self._share_connections()
        self.shared = self._open_shared(config)
        self._steps: dict[str, Step] = {}
        self._tools = ToolShop(config, self, elsewhere)
        self.folder, self.threads = config.folder, self._tools.threads
        self.hooks = build_hooks(config.hooks, config.folder, self.threads)
        self.toolbox, self.function = self._tools.toolbox, self._tools.function
        control.on_stop(self._turn_away)
        control.on_pause = self._pause
        self._shared = shared_names(config)
        names = (*config.agents, *config.groups, *written_names(config))
        self._not_run: Mapping[str, Any] = dict.fromkeys(names, NOT_RUN)
        self._not_set: Mapping[str, Any] = dict.fromkeys(names_set(config), NOT_RUN)
        self._values = [(name, Value(text, where=f"vars.{name}")) for name, text in config.vars.items()]
        self.root = with_checks(self._root(root_members(config)), config.checks, "checks", self)
        if self.hooks.on_result is not None:
            self.root = WithResultHook(self.root, self.hooks.on_result)

    def check_prices(self) -> None:
        """See that every cost can be kept under a cap.

        Raises:
            ConfigError: there is a cap, for the run or its items, and a model without a price.
        """
        for name in self.models_without_price() if self.budget.caps else ():
            raise ConfigError(
                f"max_cost can't be kept: the price of model {name!r} is not known. Give it in US dollars per 1M"
                f" tokens, as models.{name}.price: {{input: 0.15, output: 0.60}}"
            )

    def models_without_price(self) -> list[str]:
        """Their names in the config. Published prices are looked up now, if they have not been."""
        tariffs = {name: endpoint.settings.tariff for name, endpoint in self.endpoints.items()}
        return [name for name, tariff in tariffs.items() if tariff is None or not tariff.known]

    async def open(self) -> None:
        """Start what agents need before any of them may be asked anything.

        Raises:
            ConfigError: an MCP server does not start, or does not have what the config says.
        """
        await self._tools.open()

    def _open_shared(self, config: Config) -> SharedLimits | None:
        if config.limits.shared is None:
            return None
        return SharedLimits(config.folder / config.limits.shared, self.control.stop)

    async def close(self) -> None:
        """Close what was opened."""
        if self.shared is not None:
            self.shared.close()
        await self._tools.close()
        await self.batches.close()
        for transport in self._transports.values():
            await transport.close()

    def scope(self, item: Item) -> Scope:
        """What an item's first steps see: its input, `vars`, and every declared step as one that has not run.

        Raises:
            TemplateFault, ConditionFault: a value of `vars` can't be computed for it.
        """
        values = dict(self._not_set)
        fields = {"input": item.fields, "item": {"id": item.id, "index": item.index}, "vars": values}
        names = {**self._not_run, **fields}
        for name, value in self._values:
            values[name] = value.of(names)
        return Scope(names, absent=NOT_RUN)

    def transport(self, kind: TransportKind) -> HttpTransport:
        """The HTTP client of that kind, with one pool of connections for all who use it."""
        if kind not in self._transports:
            self._transports[kind] = open_transport(kind)
        return self._transports[kind]

    def _turn_away(self) -> None:
        """The run stops: nobody in a queue will be served."""
        for limiter in self.limiters:
            limiter.turn_away(RunStopped(self.control.reason or ""))

    def _pause(self, pausing: bool) -> None:
        for limiter in self.limiters:
            limiter.pause(pausing)

    def answering(self, model: str) -> Answering:
        """The model of that name with its fallbacks."""
        if model not in self._answering:
            links = [Link(self._door(model))]
            for fallback in self.config.models[model].fallbacks:
                if isinstance(fallback, str):
                    links.append(Link(self._door(fallback)))
                else:
                    links.append(Link(self._door(fallback.model), frozenset(fallback.on)))
            self._answering[model] = Answering(links, self.journal, self.cache, self.tape)
        return self._answering[model]

    def _endpoint(self, model: str) -> Endpoint | EndpointPool:
        """The model of that name with its limits."""
        config = self.config.models[model]
        if isinstance(config, ServedModelConfig) and config.endpoints:
            return self._pool(model, config)
        if model not in self.endpoints:
            self.endpoints[model] = self._one_endpoint(model, config)
        return self.endpoints[model]

    def _one_endpoint(self, name: str, config: ModelConfig, whole: ModelConfig | None = None) -> Endpoint:
        """A model, or, of the `whole` model, one of its endpoints: the others take its place where it is down."""
        settings = self._endpoint_settings(name, config)
        if whole is not None:
            settings = replace(settings, pooled=True, replaceable=True, identity=_identity(whole, "base_url"))
        return Endpoint(self._model(config), settings, self.control, self.budget)

    def _pool(self, model: str, config: ServedModelConfig) -> EndpointPool:
        """The endpoints of a model: `fast#1`, `fast#2`, ..."""
        if model not in self._pools:
            lanes: list[Lane] = []
            for number, each in enumerate(config.endpoints, 1):
                name = f"{model}#{number}"
                self.endpoints[name] = self._one_endpoint(name, config.at_endpoint(each), config)
                lanes.append(Lane(self.endpoints[name], each.weight))
            self._pools[model] = EndpointPool(model, tuple(lanes), replaceable=_is_replaceable(config))
        return self._pools[model]

    def _door(self, model: str) -> Door:
        """How that model is asked: through its provider's batches, where the config says so."""
        online, config = self._endpoint(model), self.config.models[model]
        if self.tape is not None and self.tape.replays:
            return online
        askers = sum(getattr(agent, "model", None) == model for agent in self.config.agents.values())
        return self.batches.door(online, config, askers) or online

    def limiter(
        self, owner: str, *, max_concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None
    ) -> Limiter:
        """New limits for an agent."""
        limiter = Limiter(owner, max_concurrency=max_concurrency, rpm=rpm, tpm=tpm)
        self.limiters.append(limiter)
        return limiter

    def description(self, step: str) -> str:
        """What the config says of an agent or a group."""
        sections: Mapping[str, StepConfig] = {**self.config.agents, **self.config.groups}
        return sections[step].description

    def steps(self, members: list[Member]) -> tuple[Step, ...]:
        """The steps a group's members stand for, one each: copies are a step that runs them side by side."""
        return tuple(self._one(member) for member in members)

    def members(self, members: list[Member]) -> tuple[Step, ...]:
        """The same for a group that itself runs its members side by side: each copy is a step."""
        return tuple(copy for member in members for copy in self._copies(member))

    def needs(self, members: list[Member], group: str) -> tuple[frozenset[int], ...]:
        """For each of a graph's `members`, the positions of those it waits for, because it refers to them."""
        return dependencies(self.config, members)

    def _root(self, members: list[Member]) -> Runnable:
        """What an item enters: a flow without a name, which is in nobody's way."""
        if self.config.workflow is None and len(members) > 1:
            return GraphFlow(self.members(members), self.needs(members, ""))
        return SequenceFlow(self.steps(members))

    def _one(self, member: Member) -> Step:
        if not isinstance(member, MemberConfig) or member.copies == 1:
            return self._copies(member)[0]
        step = self._named(member.agent)
        copies = tuple(step.part(number) for number in range(1, member.copies + 1))
        return Step(step.name, ParallelFlow(copies, aggregate="list"), "group", shared=step.shared)

    def _copies(self, member: Member) -> list[Step]:
        if isinstance(member, str):
            return [self._named(member)]
        if isinstance(member, GroupConfig):
            return [self._step(name_of(member), member)]
        step = self._named(member.agent)
        return [step] if member.copies == 1 else [step.copy(number) for number in range(1, member.copies + 1)]

    def _named(self, name: str) -> Step:
        if name not in self._steps:
            config = self.config.agents[name] if name in self.config.agents else self.config.groups[name]
            self._steps[name] = self._step(name, config)
        return self._steps[name]

    def _step(self, name: str, config: StepConfig) -> Step:
        """The step that `config` describes, in the wrappers that it asks for, from the inside out."""
        built = config
        if self._elsewhere is not None and "tools" in type(config).model_fields and self._elsewhere.runs(name):
            built = config.model_copy(update={"tools": []})  # what they are made of may be there alone
        runnable: Runnable = import_module(_module_of(config)).build(built, name, self)
        if config.retries and not isinstance(config, RemoteConfig):
            runnable = Retried(runnable, config.retries)
        permits = self._permits(name, config)
        if permits is not None or config.timeout is not None:
            runnable = Bounded(runnable, config.timeout, permits)
        if isinstance(config, AgentConfig) and self._elsewhere is not None:
            runnable = self._elsewhere.step(name, runnable)
        runnable = self._with_fallback(runnable, name, config)
        kind = "group" if isinstance(config, GroupConfig) else "agent"
        where = f"{kind}s.{name}"
        if isinstance(config, AgentConfig):
            runnable = with_checks(runnable, config.checks, f"{where}.checks", self)
        if config.for_each is not None:
            body = Step(name, runnable, kind, _tolerance(config) or NO_TERMS)
            runnable, kind = ForEach(Condition(config.for_each, where=f"{where}.for_each"), body), "group"
        return Step(name, runnable, kind, _terms(config, where), shared=name in self._shared)

    def _with_fallback(self, runnable: Runnable, name: str, config: StepConfig) -> Runnable:
        fallback = config.fallback
        others, when = (fallback.to, fallback.when) if isinstance(fallback, FallbackConfig) else (fallback, None)
        if not others:
            return runnable
        condition = None if when is None else Condition(when, where=f"{name}.fallback.when")
        return WithFallback(runnable, self.steps([*others]), condition)

    def _permits(self, name: str, config: StepConfig) -> Permits | None:
        """A step's permits are held while an item is in it; those of one that asks a server belong to its requests."""
        if isinstance(config, AskingConfig | RemoteConfig):
            return None
        concurrency = config.max_concurrency
        if isinstance(config, FunctionConfig):
            concurrency = concurrency or self.function(config.function, config.executor, config.placed).at_once
        if concurrency is None:
            return None
        kind = "group" if isinstance(config, GroupConfig) else "agent"
        return self.limiter(f"{kind} {name}", max_concurrency=concurrency).permits

    def _model(self, config: ModelConfig) -> Model:
        provider = provider_of(config)
        if self.tape is not None and self.tape.replays:
            return ReplayedModel(getattr(config, "model", ""), provider)
        model_class = models.model_class(provider)
        if not isinstance(config, HttpModelConfig):
            return model_class(config)
        return model_class(config, self.transport(config.transport))

    def _share_connections(self) -> dict[str, int]:
        """How many requests at once each model over HTTP may have, so that no item fails for want of descriptors."""
        models: dict[str, HttpModelConfig] = {}
        for name, model in self.config.models.items():
            if isinstance(model, ServedModelConfig) and model.endpoints:
                models |= {f"{name}#{n}": model.at_endpoint(each) for n, each in enumerate(model.endpoints, 1)}
            elif isinstance(model, HttpModelConfig):
                models[name] = model
        wanted = {name: _most_at_once(model) for name, model in models.items()}
        given = shared_out(wanted, connections_left())
        for name, model in models.items():
            if given[name] < wanted[name] and model.max_concurrency != "auto":
                self.notes.append(
                    f"model {name} gets {counted(given[name], 'request')} at once instead of {wanted[name]:,}: "
                    "more files may not be open; raise the limit with `ulimit -n`"
                )
        return given

    def _endpoint_settings(self, name: str, config: ModelConfig) -> EndpointSettings:
        defaults = self.config.defaults
        retries = next((n for n in (config.retries, defaults.retries) if n is not None), _DEFAULT_RETRIES)
        auto = config.max_concurrency == "auto"
        concurrency = self._connections.get(name) or _most_at_once(config)
        limiter = Limiter(f"model {name}", max_concurrency=concurrency, rpm=config.rpm, tpm=config.tpm)
        self.limiters.append(limiter)
        if self.shared is not None:
            _share(limiter, config, self.shared)
        return EndpointSettings(
            name=name,
            limiter=limiter,
            timeout=config.timeout or defaults.timeout or _DEFAULT_TIMEOUT_S,
            retry=RetryPolicy(retries=retries),
            tariff=tariff_of(config),
            params=config.params,
            auto=auto,
            batch_share=config.batch_share,
            identity=_identity(config, "base_url"),
            speaker=_identity(config),
            replaceable=_is_replaceable(config),
            elsewhere_on=_elsewhere_on(config),
        )


def _elsewhere_on(config: ModelConfig) -> frozenset[str]:
    """After which troubles of this model another one is asked."""
    followed = {error for each in config.fallbacks for error in (OUT_OF_SERVICE if isinstance(each, str) else each.on)}
    return OUT_OF_SERVICE & followed


def _is_replaceable(config: ModelConfig) -> bool:
    """Whether another model is asked when this one refuses its key or is down."""
    lasting = {"auth", "quota", "connection"}
    return any(isinstance(each, str) or lasting & set(each.on) for each in config.fallbacks)


def _share(limiter: Limiter, config: ModelConfig, shared: SharedLimits) -> None:
    """Keep a model's limits together with other processes that use the same server, key and model."""
    whose = _whose(config)
    if limiter.rpm is not None:
        limiter.rpm = shared.rate(whose, limiter.rpm.limit, "requests", limiter.owner)
    if limiter.tpm is not None:
        limiter.tpm = shared.rate(whose, limiter.tpm.limit, "tokens", limiter.owner)
    if limiter.permits is not None and config.max_concurrency != "auto":
        shared.share_places(whose, limiter.permits, limiter.permits.limit)


def _whose(config: ModelConfig) -> str:
    """What tells a key at a server from others, without being it."""
    key = getattr(config, "api_key", None)
    secret = key.get_secret_value() if isinstance(key, SecretStr) else ""
    parts = (provider_of(config), getattr(config, "base_url", ""), getattr(config, "model", ""), secret)
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=12).hexdigest()


def _most_at_once(config: ModelConfig) -> int:
    return _AUTO_CEILING if config.max_concurrency == "auto" else config.max_concurrency


def _identity(config: ModelConfig, *also: str) -> str:
    """What tells a model's answers from another's."""
    shaping = config.model_dump(mode="json", include={"provider", "model", "params", "reply", "replies", "seed", *also})
    return json.dumps(shaping, sort_keys=True, default=str)


def _terms(config: StepConfig, where: str) -> Terms:
    guarded = config.when is not None and not isinstance(config, ConditionConfig)
    tolerance = _tolerance(config)
    if not (guarded or tolerance or config.set):
        return NO_TERMS
    return replace(
        tolerance or NO_TERMS,
        when=Condition(config.when or "", where=f"{where}.when") if guarded else None,
        sets=tuple((key, Value(text, where=f"{where}.set.{key}")) for key, text in config.set.items()),
    )


def _tolerance(config: StepConfig) -> Terms | None:
    """That a failure does not fail the flow around; for a step that runs for each element, nor that of an element."""
    if isinstance(config.on_error, DefaultConfig):
        return Terms(tolerate=True, default=Output(config.on_error.default))
    keeps_going = isinstance(config, SequenceConfig)  # its `continue` is about its own steps
    return Terms(tolerate=True) if config.on_error == "continue" and not keeps_going else None


def _module_of(config: StepConfig) -> str:
    if isinstance(config, GroupConfig):
        return flows.KINDS[kind_of(config)][0]
    return agents.KINDS[getattr(config, "kind")][0]  # noqa: B009  # each class narrows it to its own word


def provider_of(config: ModelConfig) -> str:
    """The word under `provider`, which each class narrows to its own."""
    return getattr(config, "provider")  # noqa: B009


def planned_tariff(config: ModelConfig) -> Pricing | None:
    """What most of its requests will cost: through `provider_batch`, where it says so, at the price of batches."""
    tariff = tariff_of(config)
    batched = getattr(config, "provider_batch", None)
    return tariff if tariff is None or not batched else BatchPrice(tariff, config.batch_share)


def tariff_of(config: ModelConfig) -> Pricing | None:
    """What the model costs: as the config says, else as published; None where nothing says it."""
    if config.price is not None:
        price = config.price
        own = rates(
            price.input,
            price.output,
            price.cached_input,
            price.cache_write,
            cache_write_1h=price.cache_write_1h,
            reasoning=price.reasoning,
            request=price.request,
        )
        return Tariff((own,))
    if isinstance(config, HttpModelConfig):
        return PublishedTariff(provider_of(config), config.model)
    return None
