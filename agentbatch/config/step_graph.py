"""Who refers to whom among the steps of a config, read off its templates, conditions and `needs`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from typing import Any, cast

from pydantic import BaseModel

from agentbatch.config.config import Config
from agentbatch.config.meanings import meant_texts
from agentbatch.flows import KIND_NAMES, kind_of
from agentbatch.flows.base import GroupConfig, Member, MemberConfig
from agentbatch.record import record
from agentbatch.step_config import StepConfig
from agentbatch.templates import Condition, Template

_VALUE = "vars."


@record
class StepFacts:
    """What one section says, with all that is written inside it.

    Attributes:
        steps: the agents and groups it names as parts of itself.
        gives: names that templates can read once it has run: of the groups written inside it, and `vars.NAME`.
        reads: names that its templates and conditions read, or that it waits for.
    """

    steps: tuple[str, ...]
    gives: frozenset[str]
    reads: frozenset[str]


class StepTexts:
    """The facts of every section of a config that names no unknown step, each looked up once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._facts: dict[str, StepFacts] = {}

    def section(self, member: Member) -> StepConfig:
        """The config of a member."""
        if isinstance(member, GroupConfig):
            return member
        name = name_of(member)
        return self.config.agents[name] if name in self.config.agents else self.config.groups[name]

    def of(self, member: Member) -> StepFacts:
        """A member's own facts."""
        if isinstance(member, GroupConfig):
            return _facts(self._with_tools(member), self._steps_named)
        name = name_of(member)
        if name not in self._facts:
            self._facts[name] = _facts(self._with_tools(self.section(name)), self._steps_named)
        return self._facts[name]

    def parts(self, member: Member) -> list[Member]:
        """The steps right below a member: those it names, each once, and the groups written inside it."""
        section = self.section(member)
        named: dict[str, Member] = {}
        written: list[Member] = []
        for part in _sections_within(section, into_groups=False):
            if isinstance(part, GroupConfig) and part is not section:
                written.append(part)
            else:
                named |= {step: step for text, of in _texts(part) for step in self._steps_named(text, of)}
        return [*named.values(), *written]

    def _steps_named(self, text: str, of: str) -> Iterable[str]:
        """The agents and groups that a text of the config makes part of the step it stands in."""
        if of == "tool":
            return self._workers(text)
        return (text,) if of == "step" else ()

    def _workers(self, tool: str) -> Iterator[str]:
        """The steps that do the work of a tool, where steps do it."""
        config = self.config
        for name in config.toolsets.get(tool, (tool,)):
            if name in config.tools:
                yield from (text for text, of in _texts(config.tools[name]) if of == "step")
            elif name in config.agents or name in config.groups:
                yield name

    def _with_tools(self, section: StepConfig) -> Iterator[BaseModel]:
        """A section, those inside it, and those of its tools, whose templates it fills in."""
        for part in _sections_within(section):
            yield part
            tools = [text for text, of in _texts(part) if of == "tool"]
            for name in chain.from_iterable(self.config.toolsets.get(tool, (tool,)) for tool in tools):
                yield from _sections_within(self.config.tools.get(name))

    def inside(self, member: Member) -> dict[str, Member]:
        """The member and every step it is made of, near and far, by name."""
        found: dict[str, Member] = {name_of(member): member}
        waiting: list[Member] = [member]
        while waiting:
            for name in self.of(waiting.pop()).steps:
                if name not in found:
                    found[name] = name
                    waiting.append(name)
        return found

    def whole(self, member: Member) -> StepFacts:
        """The facts of a member and of every step it is made of, together."""
        inside = self.inside(member)
        facts = [self.of(each) for each in inside.values()]
        return StepFacts(
            steps=tuple(inside),
            gives=frozenset(inside).union(*(each.gives for each in facts)),
            reads=frozenset[str]().union(*(each.reads for each in facts)),
        )


def dependencies(config: Config, members: list[Member]) -> tuple[frozenset[int], ...]:
    """For each step that the members stand for (one each, or as many as there are copies), the positions it needs.

    A step needs another when any template or condition in it, or in what it is made of, reads what the other one gives:
    its name, that of a step inside it, or a value it sets.
    """
    texts = StepTexts(config)
    nodes = [(place, texts.whole(member)) for place, member in enumerate(members) for _ in range(_copies(member))]
    givers: dict[str, list[int]] = {}
    for position, (_, facts) in enumerate(nodes):
        for name in facts.gives:
            givers.setdefault(name, []).append(position)
    return tuple(
        frozenset(other for other in _givers_of(_read_from_others(facts), givers) if nodes[other][0] != place)
        for place, facts in nodes
    )


def circle(config: Config, members: list[Member]) -> list[str] | None:
    """The names along a circle of steps, each of which waits for the next; None where there is none."""
    needs = dependencies(config, members)
    try:
        TopologicalSorter(dict(enumerate(needs))).prepare()
    except CycleError as error:
        nodes = [member for member in members for _ in range(_copies(member))]
        positions: list[int] = error.args[1]
        return [name_of(nodes[position]) for position in reversed(positions)]
    return None


def root_members(config: Config) -> list[Member]:
    """What the workflow is made of. Where none is given: every agent but those that only stand in for another one."""
    if config.workflow is None:
        texts = StepTexts(config)
        stand_ins = {other for name in config.agents for other in texts.of(name).steps if other != name}
        stand_ins |= {*judges(config)}
        return [name for name in config.agents if name not in stand_ins] or list(config.agents)
    return [config.workflow] if isinstance(config.workflow, str) else list(config.workflow)


def judges(config: Config) -> list[str]:
    """The steps that score the workflow's output."""
    return [check.judge.agent for check in config.checks.values() if check.judge is not None]


def shared_names(config: Config) -> frozenset[str]:
    """The names of steps, unnamed groups included, that an item can meet under more than one other step.

    A name that one and the same step has several times is none of them: those come one after the other, or begin in the
    order they are written in, so that their numbers don't depend on chance.
    """
    texts, places = StepTexts(config), Counter[str]()
    waiting = [*root_members(config), *dict.fromkeys(judges(config))]
    while waiting:
        member = waiting.pop()
        name = name_of(member)
        places[name] += 1
        if places[name] <= 2 or isinstance(member, GroupConfig):
            waiting += texts.parts(member)
    return frozenset(name for name, count in places.items() if count > 1)


def written_names(config: Config) -> frozenset[str]:
    """The names of groups that are written in place, inside others or the workflow."""
    inside = (each for group in config.groups.values() for each in _sections_within(group) if each is not group)
    found = [*inside, *(each for member in root_members(config) for each in _sections_within(member))]
    return frozenset(name_of(group) for group in found if isinstance(group, GroupConfig))


def names_set(config: Config) -> frozenset[str]:
    """Every name that a step sets, as `vars.NAME`."""
    sections = [*config.agents.values(), *config.groups.values(), *root_members(config)]
    return frozenset(
        name
        for section in sections
        if isinstance(section, StepConfig)
        for each in _sections_within(section)
        if isinstance(each, StepConfig)
        for name in each.set
    )


def name_of(member: Member) -> str:
    """What a member is called in templates and results; a group without a name goes by its kind."""
    if isinstance(member, str):
        return member
    if isinstance(member, MemberConfig):
        return member.agent
    return member.name or KIND_NAMES.get(kind_of(member), kind_of(member))


def _copies(member: Member) -> int:
    return member.copies if isinstance(member, MemberConfig) else 1


def _read_from_others(facts: StepFacts) -> Iterator[str]:
    """A step that runs inside this one is its own; a value it may have from another one nevertheless."""
    return (name for name in facts.reads if name.startswith(_VALUE) or name not in facts.gives)


def _givers_of(names: Iterable[str], givers: dict[str, list[int]]) -> Iterator[int]:
    for name in names:
        if name == _VALUE:  # all values at once
            yield from (each for given, positions in givers.items() if given.startswith(_VALUE) for each in positions)
        yield from givers.get(name, ())


def _facts(sections: Iterator[BaseModel], steps_named: Callable[[str, str], Iterable[str]]) -> StepFacts:
    """What the first of the sections says, the others being inside it."""
    steps: list[str] = []
    gives: set[str] = set()
    reads: set[str] = set()
    for place, part in enumerate(sections):
        if isinstance(part, GroupConfig) and place:
            gives.add(name_of(part))
        if isinstance(part, StepConfig):
            gives |= {_VALUE + name for name in part.set}
        for text, of in _texts(part):
            steps += steps_named(text, of)
            if of == "earlier":
                reads.add(text)
            elif of in ("template", "condition"):
                made = Template(text) if of == "template" else Condition(text)
                reads |= {_name_read(path) for path in made.found.all}
    return StepFacts(tuple(steps), frozenset(gives), frozenset(reads))


def _name_read(path: tuple[str, ...]) -> str:
    return path[0] if path[0] != "vars" else _VALUE + (path[1] if len(path) > 1 else "")


def _texts(part: BaseModel) -> Iterator[tuple[str, str]]:
    """Every text with a meaning that stands in a section itself, and which meaning."""
    values = {key: getattr(part, name) for name, key in _spelled(part)}
    yield from ((text.text, text.of) for text in meant_texts(type(part), values, ()))


def _spelled(part: BaseModel) -> Iterator[tuple[str, str]]:
    for name, field in type(part).model_fields.items():
        yield name, field.alias or name


def _sections_within(value: Any, *, into_groups: bool = True, top: bool = True) -> Iterator[BaseModel]:
    """A section and every one that is written inside it, in order; of groups inside, also what is inside those."""
    if isinstance(value, BaseModel):
        yield value
        inner = [getattr(value, name) for name in type(value).model_fields]
        if isinstance(value, GroupConfig) and not top and not into_groups:
            return
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    else:
        inner = list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else []
    for each in inner:
        yield from _sections_within(each, into_groups=into_groups, top=False)
