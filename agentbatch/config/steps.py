"""Who leads to whom: the agents and groups as a graph, its unknown names and its circles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from agentbatch.config.meanings import MeantText
from agentbatch.config.problems import Problem
from agentbatch.config.source import Origin
from agentbatch.config.yaml_tree import Path
from agentbatch.record import record
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.mcp_config import split_name

ROOT = ""
"""The owner of the names in `workflow`."""


@record
class StepGraph:
    """For each agent, group, and the workflow: the steps it names, and where."""

    edges: Mapping[str, tuple[MeantText, ...]]

    @classmethod
    def of(cls, texts: Iterable[MeantText]) -> StepGraph:
        edges: dict[str, list[MeantText]] = {}
        for text in texts:
            if text.of == "step":
                edges.setdefault(owner_of(text.path), []).append(text)
        return cls({owner: tuple(named) for owner, named in edges.items()})

    def below(self, *owners: str) -> frozenset[str]:
        """These and every step they lead to."""
        found: set[str] = set()
        waiting = list(owners)
        while waiting:
            owner = waiting.pop()
            if owner not in found:
                found.add(owner)
                waiting += [text.text for text in self.edges.get(owner, ())]
        return frozenset(found)


def owner_of(path: Path) -> str:
    """The agent or group that a part belongs to; the workflow otherwise."""
    return str(path[1]) if path[0] in ("agents", "groups") and len(path) > 1 else ROOT


def unknown_names(
    texts: Iterable[MeantText],
    steps: Collection[str],
    readable: Collection[str],
    models: Collection[str],
    tools: Collection[str],
    servers: Collection[str],
    origin: Origin,
) -> Iterator[Problem]:
    """Names of steps, models and tools that are not declared.

    `readable` are the steps that can be looked at or waited for; an agent's tools can be steps, too. Which tools the
    MCP `servers` have, they say themselves when a run begins.
    """
    known_of = {"step": steps, "earlier": readable, "model": models, "tool": [*tools, *servers, *steps]}
    for text in texts:
        known = known_of.get(text.of)
        if known is None or text.text in known:
            continue
        if text.of == "tool" and split_name(text.text)[0] in servers:
            continue
        noun = text.of if text.of in ("model", "tool") else "agent or group"
        there = f"there are: {listing(known, 20)}" if known else f"there is no {noun} at all"
        hint = did_you_mean(text.text, known).lstrip(", ") or there
        if text.of == "step" and text.text in models:
            hint = f"{text.text!r} is a model: a workflow is made of agents"
            if "fallback" in text.path:
                hint = (
                    f"{text.text!r} is a model, and a fallback an agent; other models to ask are a model's `fallbacks`"
                )
        yield origin.problem(text.path, f"unknown {noun} {text.text!r}", hint=hint, word=text.text)


def circles(graph: StepGraph, origin: Origin) -> Iterator[Problem]:
    """Groups that contain themselves: each circle once."""
    done: set[str] = set()
    for start in graph.edges:
        yield from _circles_from(start, graph, done, origin)


def _circles_from(start: str, graph: StepGraph, done: set[str], origin: Origin) -> Iterator[Problem]:
    """Walk down from `start` without recursion: a chain of groups may be long."""
    way: list[str] = []
    on_way: set[str] = set()
    waiting: list[tuple[str, MeantText | None]] = [(start, None)]
    while waiting:
        name, text = waiting.pop()
        if text is None and name in on_way:
            way.pop()
            on_way.discard(name)
            done.add(name)
        elif name in on_way and text is not None:
            circle = " -> ".join([*way[way.index(name) :], name])
            yield origin.problem(text.path, f"{_circle_of(text.path)}: {circle}", word=text.text)
        elif name not in done:
            way.append(name)
            on_way.add(name)
            waiting.append((name, None))
            waiting += [(each.text, each) for each in reversed(graph.edges.get(name, ()))]


def _circle_of(path: Path) -> str:
    if "fallback" in path:
        return "a step can't be its own fallback"
    return "an agent can't be its own tool" if "tools" in path else "a group can't contain itself"
