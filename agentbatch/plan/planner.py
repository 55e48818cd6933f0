"""What a config would do with an item, as a tree of plain data: read off the config, without building or running."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from agentbatch.agents.base import AgentConfig
from agentbatch.checks.config import CheckConfig
from agentbatch.config.step_graph import dependencies, name_of, root_members, shared_names
from agentbatch.errors import ConfigError
from agentbatch.flows.base import GroupConfig, Member, MemberConfig
from agentbatch.flows.condition import ConditionConfig
from agentbatch.flows.graph import GraphConfig
from agentbatch.flows.loop import LoopConfig
from agentbatch.flows.parallel import BestConfig, JudgeConfig, ParallelConfig, QuorumConfig, VoteConfig
from agentbatch.flows.route import RouteConfig, RouterConfig
from agentbatch.flows.sequence import SequenceConfig
from agentbatch.models.base import HttpModelConfig, ModelConfig
from agentbatch.plan.calls import MANY, ONCE, ONE_CALL, Calls, Times
from agentbatch.record import record
from agentbatch.step_config import FallbackConfig, StepConfig
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.config import Config

MOST_STEPS = 10_000
"""Steps of one plan. Groups of groups can unfold to more than any person, or machine, will look at."""

Role = Literal["member", "helper", "tool", "fallback"]
"""`helper`: always runs, before or after the members, as a router or a judge does. `tool`: as often as its agent likes.
`fallback`: only where the step fails."""

Rule = Literal["all", "one", "some"]
"""How many of a step's members run: all of them, one, or at least one."""


@record
class PlanNode:
    """One step in its place.

    Attributes:
        name: the agent's or group's.
        kind: `chat`, `sequence`, `parallel`, `loop`, `condition`, `route`, `graph`, `for_each`, ...
        path: its key under `agents` in a result line, where everything runs; `[n]` stands for a number.
        detail: what it does, in words.
        children: the steps it is made of.
        calls: requests of an item to its model, in this step and below, retries of failed ones not counted.
        parallel: its children run at once.
        conditional: an item may pass without it.
        limits: its own limits, in words.
        label: what it is to the step above: `then`, `case bug`, `judge`, `fallback`; else empty.
        case: under a route or a condition, the value that leads here; else None.
        copies: how many of it run.
        own: requests of its own in one go, without its children's.
        times: how often its members run in one go: a loop's iterations, beginnings after a bad answer.
        waits_for: in a graph, the positions among its siblings of those it waits for.
        wave: in a graph, 1 for those that wait for nobody, 2 for those that wait for these alone, ...; else 0.
        config: the section it was read from.
    """

    name: str
    kind: str
    path: str = ""
    detail: str = ""
    children: tuple[PlanNode, ...] = ()
    calls: Calls = ONE_CALL
    parallel: bool = False
    conditional: bool = False
    limits: tuple[str, ...] = ()
    label: str = ""
    role: Role = "member"
    rule: Rule = "all"
    case: str | None = None
    copies: int = 1
    own: Calls = Calls()
    times: Times = ONCE
    waits_for: tuple[int, ...] = ()
    wave: int = 0
    config: StepConfig | None = field(default=None, repr=False)

    @property
    def model(self) -> str | None:
        """The name of the model it asks; None for a step that asks none itself."""
        return getattr(self.config, "model", None) if self.own.most != 0 else None

    def with_role(self, role: Role) -> list[PlanNode]:
        """The children in that role."""
        return [child for child in self.children if child.role == role]

    def walk(self) -> Iterator[PlanNode]:
        """This step and all below it, each before those it is made of."""
        yield self
        for child in self.children:
            yield from child.walk()


@record
class ModelUse:
    """A model that the workflow asks. `agents` are those who ask it; `fallbacks` the models that stand in for it."""

    name: str
    provider: str
    model: str
    agents: tuple[str, ...]
    calls: Calls
    limits: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()


@record
class Plan:
    """The workflow of one item, the models in use, and the limits of the run in words."""

    root: PlanNode
    models: tuple[ModelUse, ...]
    limits: tuple[str, ...] = ()


def make_plan(config: Config) -> Plan:
    """The plan of a config's workflow. Nothing is sent, and no key is looked at.

    Raises:
        ConfigError: the workflow unfolds to more than 10,000 steps, or its groups are nested too deeply to be run.
    """
    try:
        root = _Planner(config).root()
    except RecursionError:
        raise ConfigError("the workflow's groups are nested too deeply: let fewer of them hold one another") from None
    return Plan(root, tuple(_models(config, root)), tuple(_run_limits(config)))


def calls_of(node: PlanNode, model: str | None = None) -> Calls:
    """An item's requests in this step and below: all of them, or those to one model."""

    def below(role: Role) -> list[Calls]:
        return [child.calls if model is None else calls_of(child, model) for child in node.with_role(role)]

    own = node.own if model is None or node.model == model else Calls()
    inner = own + _by_rule(node.rule, below("member")) + Calls.sum(below("helper"))
    inner += Calls.sum(worker.times(MANY) for worker in below("tool"))
    once = inner.times(node.times) + Calls.sum(other.maybe() for other in below("fallback"))
    whole = once.times(Times(node.copies, node.copies))
    return whole.maybe() if node.conditional else whole


def _by_rule(rule: Rule, members: list[Calls]) -> Calls:
    if rule == "all" or not members:
        return Calls.sum(members)
    return Calls.one_of(members) if rule == "one" else Calls.some_of(members)


@record
class _Inside:
    """What a step is made of, before its place and its wrappers."""

    kind: str
    detail: str = ""
    children: tuple[PlanNode, ...] = ()
    parallel: bool = False
    conditional: bool = False
    rule: Rule = "all"
    own: Calls = Calls()
    times: Times = ONCE


@record
class _Place:
    """Where steps stand: the path of the step they are in, and what their own paths begin with."""

    path: str = ""
    prefix: str = ""


class _Planner:
    """Follows the names from the workflow down, as `Workshop` and `Step` do when it runs."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._shared = shared_names(config)
        self._paths: set[str] = set()
        self._left = MOST_STEPS

    def root(self) -> PlanNode:
        members = root_members(self._config)
        in_order = self._config.workflow is not None or len(members) == 1
        inside = self._sequence(members, _Place()) if in_order else self._graph(members, _Place())
        children = (*inside.children, *self._judges(self._config.checks, _Place()))
        node = PlanNode("workflow", inside.kind, "", inside.detail, children, parallel=inside.parallel)
        return replace(node, calls=calls_of(node))

    def _members(self, members: Iterable[Member], place: _Place) -> tuple[PlanNode, ...]:
        return tuple(self._member(member, place) for member in members)

    def _member(self, member: Member, place: _Place) -> PlanNode:
        name = name_of(member)
        section = member if isinstance(member, GroupConfig) else self._section(name)
        return self._step(name, section, place, member.copies if isinstance(member, MemberConfig) else 1)

    def _section(self, name: str) -> StepConfig:
        return self._config.agents[name] if name in self._config.agents else self._config.groups[name]

    def _step(self, name: str, section: StepConfig, around: _Place, copies: int = 1) -> PlanNode:
        """A step with all that its config wraps around it."""
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"the workflow unfolds to more than {MOST_STEPS:,} steps: groups of groups multiply")
        place = self._enter(name, around, "[n]" if copies > 1 else "")
        guarded = section.when is not None and not isinstance(section, ConditionConfig)
        if section.for_each is None:
            node = self._plain(name, section, place)
            node = replace(node, copies=copies, conditional=node.conditional or guarded)
        else:
            node = replace(self._mapped(name, section, place), copies=copies, conditional=guarded)
        return replace(node, calls=calls_of(node))

    def _enter(self, name: str, around: _Place, number: str) -> _Place:
        """The place inside a step, as `Step` names it if everything runs, in the order of the plan."""
        start = f"{around.path}." if name in self._shared and around.path else around.prefix
        wanted = path = f"{start}{name}{number}"
        count = 1
        while path in self._paths:
            count += 1
            path = f"{wanted}#{count}"
        self._paths.add(path)
        return _Place(path, f"{path}." if number or path != wanted else around.prefix)

    def _mapped(self, name: str, section: StepConfig, place: _Place) -> PlanNode:
        body = self._plain(f"{name}[n]", section, _part(place))
        body = replace(body, calls=calls_of(body))
        detail = f"for each of {bare(section.for_each or '')}, at once"
        return PlanNode(name, "for_each", place.path, detail, (body,), parallel=True, times=MANY, config=section)

    def _plain(self, name: str, section: StepConfig, place: _Place) -> PlanNode:
        inside = self._inside(section, place)
        times = Times(inside.times.least, _times(inside.times.most, section.retries + 1))
        again = f"begun again up to {_often(section.retries)} after a bad answer" if section.retries else ""
        return PlanNode(
            name=name,
            kind=inside.kind,
            path=place.path,
            detail=", ".join(part for part in (inside.detail, again) if part),
            children=(*inside.children, *self._fallbacks(section, place), *self._judges_of(section, place)),
            parallel=inside.parallel,
            conditional=inside.conditional,
            limits=tuple(_step_limits(section)),
            rule=inside.rule,
            own=inside.own,
            times=times,
            config=section,
        )

    def _fallbacks(self, section: StepConfig, place: _Place) -> Iterator[PlanNode]:
        given = section.fallback
        names = given.to if isinstance(given, FallbackConfig) else given
        why = f" if {bare(given.when)}" if isinstance(given, FallbackConfig) and given.when else ""
        for name in names:
            yield replace(self._member(name, place), label=f"fallback{why}", role="fallback")

    def _judges_of(self, section: StepConfig, place: _Place) -> Iterator[PlanNode]:
        if isinstance(section, AgentConfig):
            yield from self._judges(section.checks, place)

    def _judges(self, checks: Mapping[str, CheckConfig], place: _Place) -> Iterator[PlanNode]:
        for name, check in checks.items():
            if check.judge is not None:
                yield replace(self._member(check.judge.agent, place), label=f"check {name}", role="helper")

    def _inside(self, section: StepConfig, place: _Place) -> _Inside:
        match section:
            case SequenceConfig():
                return self._sequence(section.sequence, place, section.on_error == "continue")
            case ParallelConfig():
                return self._parallel(section, place)
            case LoopConfig():
                return self._loop(section, _part(place))
            case ConditionConfig():
                return self._condition(section, place)
            case RouteConfig():
                return self._route(section, place)
            case GraphConfig():
                return self._graph(section.graph, place)
            case _:
                return self._agent(section, place)

    def _sequence(self, members: Iterable[Member], place: _Place, keep_going: bool = False) -> _Inside:
        detail = "also after a failed step" if keep_going else ""
        return _Inside("sequence", detail, self._members(members, place))

    def _parallel(self, section: ParallelConfig, place: _Place) -> _Inside:
        children = self._members(section.parallel, place)
        if isinstance(section.aggregate, JudgeConfig):
            judge = self._member(section.aggregate.agent, place)
            children = (*children, replace(judge, label="judge", role="helper"))
        race = section.aggregate == "first"
        return _Inside("parallel", _parallel_detail(section), children, True, rule="some" if race else "all")

    def _loop(self, section: LoopConfig, place: _Place) -> _Inside:
        ends = section.until is not None or section.while_ is not None
        least = 0 if section.while_ is not None else 1 if ends else section.max_iterations
        children = self._members(section.loop, place)
        return _Inside("loop", _loop_detail(section), children, times=Times(least, section.max_iterations))

    def _condition(self, section: ConditionConfig, place: _Place) -> _Inside:
        children = [replace(self._member(section.then, place), label="then", case="true")]
        if section.else_ is not None:
            children.append(replace(self._member(section.else_, place), label="else", case="false"))
        detail = f"if {bare(section.when or 'true')}"
        return _Inside("condition", detail, tuple(children), conditional=section.else_ is None, rule="one")

    def _route(self, section: RouteConfig, place: _Place) -> _Inside:
        children: list[PlanNode] = []
        if isinstance(section.route, RouterConfig):
            router = self._member(section.route.agent, place)
            children.append(replace(router, label="router", role="helper"))
        for value, members in section.cases.items():
            children.append(self._case(members, f"case {value}", value, place))
        if section.default is not None:
            children.append(self._case(section.default, "default", "", place))
        by = section.route.agent if isinstance(section.route, RouterConfig) else bare(section.route)
        several = may_be_list(self._config, section)
        detail = f"by {by}" + (", several ways at once where it is a list" if several else "")
        return _Inside("route", detail, tuple(children), rule="some" if several else "one")

    def _case(self, members: Member | list[Member], label: str, value: str, place: _Place) -> PlanNode:
        if not isinstance(members, list):
            return replace(self._member(members, place), label=label, case=value)
        if len(members) == 1:
            return replace(self._member(members[0], place), label=label, case=value)
        node = PlanNode("", "parallel", "", "", self._members(members, place), parallel=True, label=label, case=value)
        return replace(node, calls=calls_of(node))

    def _graph(self, members: list[Member], place: _Place) -> _Inside:
        nodes = self._members(members, place)
        needs = _needs_of_members(members, dependencies(self._config, members))
        waves = _waves(needs)
        children = (replace(node, waits_for=tuple(sorted(needs[at])), wave=waves[at]) for at, node in enumerate(nodes))
        return _Inside("graph", "each starts when those it waits for have ended", tuple(children), parallel=True)

    def _agent(self, section: StepConfig, place: _Place) -> _Inside:
        inside = _asking(section)
        tools: list[str] = _field(section, "tools") or []
        single = dict.fromkeys(tool for name in tools for tool in self._config.toolsets.get(name, [name]))
        workers = [self._worker(name) for name in single]
        found = [replace(self._member(name, place), label="tool", role="tool") for name in workers if name is not None]
        return replace(inside, children=tuple(found))

    def _worker(self, tool: str) -> str | None:
        """The agent or group that does a tool's work, if one does."""
        if tool in self._config.agents or tool in self._config.groups:
            return tool
        return getattr(self._config.tools.get(tool), "agent", None)


def _part(place: _Place) -> _Place:
    """The place inside one of a step's iterations, or elements."""
    return _Place(f"{place.path}[n]", f"{place.path}[n].")


def _asking(section: StepConfig) -> _Inside:
    kind = str(_field(section, "kind"))
    model = _field(section, "model")
    if model is None:
        return _Inside(kind, _what_works(section))
    turns: int = _field(section, "max_turns") or 1
    tools: list[Any] = _field(section, "tools") or []
    checked = _field(section, "output_schema") is not None
    most = (turns if tools else 1) + checked
    details = [f"model {model}"]
    if tools:
        details.append(f"up to {counted(turns, 'turn')} with {', '.join(str(tool) for tool in tools)}")
    if checked:
        details.append("answer checked, one repair")
    return _Inside(kind, ", ".join(details), own=Calls(1, most))


def _what_works(section: StepConfig) -> str:
    """The function, the program or the server of an agent that asks no model."""
    function, command, url = (_field(section, name) for name in ("function", "command", "url"))
    if isinstance(command, list):
        command = next(iter(str(cast("list[Any]", command)[0]).split()), None) if command else None
    if isinstance(url, str):
        url = urlsplit(url).hostname  # what follows may hold a secret
    return next((str(what) for what in (function, command, url) if what), "")


def _field(section: StepConfig, name: str) -> Any:
    """What only some kinds of agents have; None for the others."""
    return getattr(section, name, None)


def _parallel_detail(section: ParallelConfig) -> str:
    details: list[str] = []
    if section.aggregate == "first":
        details.append("the first to succeed wins")
    elif section.success == "any":
        details.append("one must succeed")
    elif isinstance(section.success, QuorumConfig):
        details.append(f"{section.success.quorum} must succeed")
    if section.fail_fast:
        details.append("ended as soon as it can't")
    if section.aggregate == "vote" or isinstance(section.aggregate, VoteConfig):
        details.append("the most frequent answer wins")
    elif isinstance(section.aggregate, BestConfig):
        details.append(f"the highest {bare(section.aggregate.best)} wins")
    return ", ".join(details)


def _loop_detail(section: LoopConfig) -> str:
    ends = section.until is not None or section.while_ is not None
    parts = [f"{'up to ' if ends else ''}{_often(section.max_iterations)}"]
    if section.while_ is not None:
        parts.append(f"while {bare(section.while_)}")
    if section.until is not None:
        parts.append(f"until {bare(section.until)}")
    return " ".join(parts)


def may_be_list(config: Config, section: RouteConfig) -> bool:
    """Whether a route's value can be a list, which takes several ways: not where it is an agent's text, or where the
    agent's schema says that it is no list."""
    if isinstance(section.route, RouterConfig):
        path = (section.route.agent, "output")
    else:
        path = tuple(bare(section.route).split("."))
    if len(path) < 2 or path[1] != "output" or path[0] not in config.agents:
        return True
    agent = config.agents[path[0]]
    model, schema = _field(agent, "model"), _field(agent, "output_schema")
    if agent.for_each is not None or model is None:
        return True
    return len(path) > 2 if schema is None else _schema_allows_list(schema, path[2:])


def _schema_allows_list(schema: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        schema = cast("Mapping[str, Any]", schema).get("properties", {}) if isinstance(schema, Mapping) else {}
        schema = cast("Mapping[str, Any]", schema).get(part)
    if not isinstance(schema, Mapping):
        return True
    found = cast("Mapping[str, Any]", schema)
    if isinstance(values := found.get("enum"), list):
        return any(isinstance(value, list) for value in cast("list[Any]", values))
    kinds = found.get("type")
    return kinds is None or "array" in (kinds if isinstance(kinds, list) else [kinds])


def bare(expression: str) -> str:
    """An expression on one line, without braces around it."""
    text = " ".join(expression.split())
    return text[2:-2].strip() if text.startswith("{{") and text.endswith("}}") else text


def _needs_of_members(members: list[Member], needs: tuple[frozenset[int], ...]) -> list[set[int]]:
    """The graph's needs by member: copies of one agent are one node of the plan."""
    owners = [
        at for at, member in enumerate(members) for _ in range(member.copies if isinstance(member, MemberConfig) else 1)
    ]
    found: list[set[int]] = [set() for _ in members]
    for position, needed in enumerate(needs):
        found[owners[position]] |= {owners[other] for other in needed}
    return found


def _waves(needs: list[set[int]]) -> list[int]:
    """For each step one more than the last wave it waits for. Steps in a circle, which `load` refuses, get 0."""
    waves = [0] * len(needs)
    for wave in range(1, len(needs) + 1):
        ready = [at for at, before in enumerate(needs) if not waves[at] and all(0 < waves[n] < wave for n in before)]
        for at in ready:
            waves[at] = wave
    return waves


# words


def _often(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times:,} times")


def _times(number: int | None, factor: int) -> int | None:
    return None if number is None else number * factor


def _step_limits(section: StepConfig) -> Iterator[str]:
    if section.max_concurrency is not None:
        yield f"{section.max_concurrency:,} at once"
    yield from _rates(section)
    if section.timeout is not None:
        yield f"timeout {section.timeout:g} s"


def _rates(section: Any) -> Iterator[str]:
    for name in ("rpm", "tpm"):
        limit = getattr(section, name, None)
        if limit is not None:
            yield f"{limit:,} {name}"


def _models(config: Config, root: PlanNode) -> Iterator[ModelUse]:
    """The models that the workflow asks, then those that only stand in for them, each once."""
    users: dict[str, list[str]] = {}
    for node in root.walk():
        if node.model is not None:
            users.setdefault(node.model, []).append(node.name.removesuffix("[n]"))
    waiting = list(users)
    while waiting:
        name = waiting.pop(0)
        section = config.models[name]
        waiting += [other for other in section.fallback_names if other not in users]
        for other in section.fallback_names:
            users.setdefault(other, [])
        provider = str(getattr(section, "provider", ""))
        yield ModelUse(
            name=name,
            provider=provider,
            model=section.model if isinstance(section, HttpModelConfig) else str(getattr(section, "model", provider)),
            agents=tuple(dict.fromkeys(users[name])),
            calls=calls_of(root, name),
            limits=tuple(_model_limits(section)),
            fallbacks=tuple(section.fallback_names),
        )


def _model_limits(section: ModelConfig) -> Iterator[str]:
    auto = section.max_concurrency == "auto"
    yield "concurrency auto" if auto else f"{section.max_concurrency:,} at once"
    yield from _rates(section)


def _run_limits(config: Config) -> Iterator[str]:
    limits = config.limits
    if limits.max_concurrency is not None:
        yield f"{counted(limits.max_concurrency, 'item')} at once"
    if limits.item_timeout is not None:
        yield f"{limits.item_timeout:g} s an item"
    if limits.timeout is not None:
        yield f"{limits.timeout:g} s in all"
    if limits.max_cost is not None:
        yield f"${limits.max_cost:g} in all"
    if limits.max_failures is not None:
        yield f"{limits.max_failures} failures"
