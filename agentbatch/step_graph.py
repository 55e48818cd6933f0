"""Who refers to whom among the steps of a graph, read off the config's templates, conditions and `needs`."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from agentbatch.config_meanings import meant_texts
from agentbatch.flows import kind_of
from agentbatch.flows.base import GroupConfig, Member, MemberConfig
from agentbatch.step_config import StepConfig
from agentbatch.templates import Condition, Template

if TYPE_CHECKING:
    from agentbatch.config import Config


def dependencies(config: Config, members: list[Member]) -> tuple[frozenset[int], ...]:
    """For each step that the members stand for (one each, or as many as there are copies), the positions it needs.

    A step needs another when any template or condition in it, or in what it is made of, reads a name that the other one
    gives: its own, or that of a step inside it.
    """
    nodes = [member for member in members for _ in range(_copies(member))]
    given = [frozenset(_inside(config, node)) for node in nodes]
    read = [_read(config, node) for node in nodes]
    return tuple(
        frozenset(
            other
            for other in range(len(nodes))
            if other != position
            and nodes[other] is not nodes[position]
            and given[other] & read[position] - given[position]
        )
        for position in range(len(nodes))
    )


def circle(config: Config, members: list[Member]) -> list[str] | None:
    """The names along a circle of steps that wait for each other; None where there is none."""
    needs = dependencies(config, members)
    try:
        TopologicalSorter(dict(enumerate(needs))).prepare()
    except CycleError as error:
        nodes = [member for member in members for _ in range(_copies(member))]
        return [name_of(nodes[position]) for position in reversed(error.args[1])]
    return None


def name_of(member: Member) -> str:
    """What a member is called in templates."""
    if isinstance(member, str):
        return member
    if isinstance(member, MemberConfig):
        return member.agent
    return member.name or kind_of(member)


def _copies(member: Member) -> int:
    return member.copies if isinstance(member, MemberConfig) else 1


def _section(config: Config, member: Member) -> StepConfig:
    if isinstance(member, GroupConfig):
        return member
    name = name_of(member)
    return config.agents[name] if name in config.agents else config.groups[name]


def _inside(config: Config, member: Member) -> set[str]:
    """The member's name and those of all steps it is made of."""
    found = {name_of(member)}
    waiting: list[Member] = [member]
    while waiting:
        for text, of in _texts(_section(config, waiting.pop())):
            if of == "step" and text not in found:
                found.add(text)
                waiting.append(text)
    return found


def _read(config: Config, member: Member) -> set[str]:
    """The names that the member, and the steps it is made of, read or wait for."""
    found: set[str] = set()
    sections = [
        _section(config, member),
        *(_section(config, name) for name in _inside(config, member) if name != name_of(member)),
    ]
    for section in sections:
        for text, of in _texts(section):
            if of == "earlier":
                found.add(text)
            elif of in ("template", "condition"):
                made = Template(text) if of == "template" else Condition(text)
                found |= {path[0] for path in made.references}
    return found


def _texts(section: BaseModel) -> Iterator[tuple[str, str]]:
    """Every text with a meaning in a section and in the sections written inside it, and which meaning."""
    values: dict[str, Any] = {
        field.alias or name: getattr(section, name) for name, field in type(section).model_fields.items()
    }
    yield from ((text.text, text.of) for text in meant_texts(type(section), values, ()))
    for value in values.values():
        for nested in _sections(value):
            yield from _texts(nested)


def _sections(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _sections(each)
    elif isinstance(value, dict):
        for each in cast("dict[str, Any]", value).values():
            yield from _sections(each)
