"""Flows that could never run, or not as they were meant: found in a config whose every part is right by itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, cast

from pydantic import BaseModel

from agentbatch.config.config import Config
from agentbatch.config.step_graph import StepTexts, circle, dependencies, judges, name_of, root_members
from agentbatch.config.yaml_tree import Path
from agentbatch.flows.base import GroupConfig, Member, MemberConfig
from agentbatch.flows.condition import ConditionConfig
from agentbatch.flows.graph import GraphConfig
from agentbatch.flows.loop import LoopConfig
from agentbatch.flows.parallel import ParallelConfig, QuorumConfig
from agentbatch.flows.route import RouteConfig, case_key
from agentbatch.flows.sequence import SequenceConfig
from agentbatch.record import record
from agentbatch.step_config import StepConfig
from agentbatch.text.figures import counted
from agentbatch.text.suggestions import did_you_mean, listing

MOST_LEVELS = 30
"""Of steps inside each other: Python's stack ends somewhere."""


@record
class Finding:
    """Something to say about the part at `path`: a problem, or a mere note."""

    path: Path
    message: str
    hint: str = ""
    note: bool = False


def flow_findings(config: Config) -> Iterator[Finding]:
    """All of them."""
    yield from _FlowCheck(config).findings()


class _FlowCheck:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._texts = StepTexts(config)
        self._root = root_members(config)
        self._sections = list(_sections_with_paths(config))
        self._sets: dict[str, frozenset[str]] = {}

    def findings(self) -> Iterator[Finding]:
        """Problems, then notes."""
        yield from self._names()
        if self._depth() > MOST_LEVELS:
            yield Finding(("workflow",), f"nested more than {MOST_LEVELS} levels deep", "groups can stand side by side")
            return
        for path, section in self._sections:
            if isinstance(section, GraphConfig):
                yield from self._graph((*path, "graph"), section.graph)
            elif isinstance(section, ParallelConfig):
                yield from self._parallel(path, section)
            elif isinstance(section, RouteConfig):
                yield from _cases(path, section)
            yield from self._output(path, section)
        if self._config.workflow is None and len(self._root) > 1:
            yield from self._graph(("agents",), self._root)
        yield from self._own_history()
        yield from self._needs()
        yield from _thresholds(self._config)
        yield from self._unused()
        yield from _unplaced(self._config)
        yield from _idle_engine(self._config)

    def _depth(self) -> int:
        """How many steps stand inside each other at most; no more than a few are looked at beyond what is allowed."""
        depths: dict[str, int] = {}
        deepest = 0
        waiting: list[tuple[Member, int]] = [(member, 1) for member in self._root]
        while waiting and deepest <= MOST_LEVELS:
            member, depth = waiting.pop()
            deepest = max(deepest, depth)
            name = name_of(member)
            if isinstance(member, GroupConfig) or depths.get(name, 0) < depth:
                depths[name] = depth
                waiting += [(part, depth + 1) for part in self._texts.parts(member)]
        return deepest

    # names

    def _names(self) -> Iterator[Finding]:
        """Groups written in place, by names that are taken."""
        declared = {*self._config.agents, *self._config.groups}
        seen: set[str] = set()
        for path, section in self._sections:
            if not isinstance(section, GroupConfig) or (len(path) == 2 and path[0] == "groups"):
                continue
            name, at = name_of(section), (*path, "name") if section.name else path
            if name in declared:
                kind = "" if section.name else "an unnamed group goes by its kind, and "
                yield Finding(at, f"{kind}{name!r} is an agent's or a group's name", "give it a `name` of its own")
            elif section.name in seen:
                yield Finding(at, f"two groups written in place are called {name!r}", "rename one of them")
            if section.name:
                seen.add(section.name)

    # graphs

    def _graph(self, path: Path, members: list[Member]) -> Iterator[Finding]:
        names = [name_of(member) for member in members if not isinstance(member, GroupConfig)]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                hint = f"for several of one kind write {{agent: {name}, copies: {names.count(name)}}}"
                yield Finding(path, f"{name!r} is in this graph twice", hint)
        waiting = circle(self._config, members)
        if waiting is not None:
            hint = "a loop group lets steps see each other's last answers"
            yield Finding(path, f"these wait for each other: {' -> '.join(waiting)}", hint)
            return
        yield from self._needs_in(path, members)
        yield from self._graph_setters(path, members)

    def _needs_in(self, path: Path, members: list[Member]) -> Iterator[Finding]:
        inside = [set(self._texts.inside(member)) | self._texts.whole(member).gives for member in members]
        for place, member in enumerate(members):
            others = set[str]().union(*(names for other, names in enumerate(inside) if other != place))
            for name in self._texts.section(member).needs:
                if name not in others:
                    hint = did_you_mean(name, others).lstrip(", ") or f"its other steps are: {listing(sorted(others))}"
                    message = f"{name_of(member)} needs {name!r}, which is no other step of this graph"
                    yield Finding(path, message, hint)

    def _needs(self) -> Iterator[Finding]:
        """`needs` of steps that stand in no graph."""
        graphs = [section.graph for _, section in self._sections if isinstance(section, GraphConfig)]
        graphs += [self._root] if self._config.workflow is None else []
        nodes = {id(self._texts.section(member)) for members in graphs for member in members}
        for path, section in self._sections:
            if section.needs and id(section) not in nodes:
                message = "`needs` means something in a graph only, and this step stands in none"
                yield Finding((*path, "needs"), message, note=True)

    def _graph_setters(self, path: Path, members: list[Member]) -> Iterator[Finding]:
        nodes = [member for member in members for _ in range(_copies(member))]
        setters = self._setters(nodes)
        before = _closure(dependencies(self._config, members)) if setters else []
        for name, positions in setters.items():
            for one, other in combinations(positions, 2):
                if one not in before[other] and other not in before[one]:
                    yield _clash(path, nodes[one], nodes[other], name)
                    break

    # parallel groups

    def _parallel(self, path: Path, section: ParallelConfig) -> Iterator[Finding]:
        members = [member for member in section.parallel for _ in range(_copies(member))]
        quorum = section.success.quorum if isinstance(section.success, QuorumConfig) else 0
        if quorum > len(members):
            message = f"a quorum of {quorum} can't be reached by {counted(len(members), 'member')}"
            yield Finding((*path, "success"), message, "lower it, or add members or copies")
        if section.aggregate == "first":
            return  # only the winner's values count
        for name, positions in self._setters(members).items():
            if len(positions) > 1:
                yield _clash((*path, "parallel"), members[positions[0]], members[positions[1]], name)

    def _setters(self, members: list[Member]) -> dict[str, list[int]]:
        """For each name of `vars` the positions of those that set it whatever the item."""
        found: dict[str, list[int]] = {}
        for position, member in enumerate(members):
            for name in sorted(self._surely_set(member)):
                found.setdefault(name, []).append(position)
        return found

    def _surely_set(self, member: Member) -> frozenset[str]:
        """Names of `vars` that a step sets whatever the item, as far as that can be seen."""
        if isinstance(member, GroupConfig):
            return self._set_in(member)
        name = name_of(member)
        if name not in self._sets:
            self._sets[name] = self._set_in(self._texts.section(name))
        return self._sets[name]

    def _set_in(self, section: StepConfig) -> frozenset[str]:
        if isinstance(section, ConditionConfig | RouteConfig) or section.when is not None:
            return frozenset()
        found = frozenset(section.set)
        if section.for_each is None and not (isinstance(section, LoopConfig) and section.while_ is not None):
            found = found.union(*(self._surely_set(each) for each in _members(section)))
        return found

    # the rest

    def _output(self, path: Path, section: StepConfig) -> Iterator[Finding]:
        """An `output` that names a step which is not in the group."""
        name: Any = getattr(section, "output", None)
        if not isinstance(section, SequenceConfig | LoopConfig | GraphConfig) or not isinstance(name, str):
            return
        facts = self._texts.whole(section)
        inside = (facts.gives | set(facts.steps)) - {name_of(section)}
        if name not in inside:
            steps = sorted(each for each in inside if not each.startswith("vars."))
            hint = did_you_mean(name, steps).lstrip(", ") or f"its steps are: {listing(steps)}"
            yield Finding((*path, "output"), f"{name!r} is no step of this group", hint)

    def _own_history(self) -> Iterator[Finding]:
        """Agents that would go on with their own conversation, but never come round again."""
        loops = [section.loop for _, section in self._sections if isinstance(section, LoopConfig)]
        looped = {name for members in loops for member in members for name in self._texts.inside(member)}
        for name, agent in self._config.agents.items():
            if name in getattr(agent, "history", ()) and name not in looped:
                message = f"{name!r} has no earlier conversation of its own"
                yield Finding(("agents", name, "history"), message, "an agent sees its own last answer in a loop only")

    def _unused(self) -> Iterator[Finding]:
        used = {name for member in (*self._root, *judges(self._config)) for name in self._texts.inside(member)}
        unused = [("agents", name) for name in self._config.agents if name not in used]
        unused += [("groups", name) for name in self._config.groups if name not in used]
        if unused:
            names = listing((name for _, name in unused), 20)
            yield Finding(unused[0], f"not in use, as no step of the workflow leads to it: {names}", note=True)


def _unplaced(config: Config) -> Iterator[Finding]:
    """Agents that ask for nodes where there are none to choose from."""
    placed = [name for name, agent in config.agents.items() if agent.placement is not None]
    if placed and not (config.engine.kind == "ray" and config.engine.address is not None):
        others = f", and so is that of {listing(placed[1:], 20)}" if placed[1:] else ""
        yield Finding(
            ("agents", placed[0], "placement"),
            f"ignored{others}, as all runs on this machine; for a Ray cluster: --engine ray --address HOST:PORT",
            note=True,
        )


def _idle_engine(config: Config) -> Iterator[Finding]:
    """What is said of Ray where nobody said that the run goes there."""
    engine = config.engine
    if engine.kind == "local" and "kind" not in engine.model_fields_set:
        for key in engine.model_fields_set:
            yield Finding(("engine", key), "ignored: it is for Ray, and needs `kind: ray` or --engine ray", note=True)


def _thresholds(config: Config) -> Iterator[Finding]:
    """Thresholds of checks that there are none of."""
    names = [*config.checks, *(f"{agent}.{check}" for agent, each in config.agents.items() for check in each.checks)]
    for name, threshold in config.thresholds.items():
        if name not in names:
            there_are = f"there are: {listing(names, 20)}" if names else "there is no check at all"
            yield Finding(
                ("thresholds", name), f"unknown check {name!r}", did_you_mean(name, names).lstrip(", ") or there_are
            )
        elif threshold.min is None and threshold.mean_score is None:
            yield Finding(("thresholds", name), "a threshold has `min`, `mean_score` or both", "min: 0.9")


def _clash(path: Path, one: Member, other: Member, name: str) -> Finding:
    who = f"each copy of {name_of(one)} sets" if one is other else f"{name_of(one)} and {name_of(other)} both set"
    message = f"{who} vars.{name}, and they run at the same time: which value counts would be chance"
    return Finding(path, message, "give each a name of its own, or read their outputs")


def _cases(path: Path, section: RouteConfig) -> Iterator[Finding]:
    """Cases that are one and the same."""
    seen: dict[str, str] = {}
    for case in section.cases:
        other = seen.setdefault(case_key(case), case)
        if other != case:
            message = f"the cases {other!r} and {case!r} are the same: case, quotes and a final full stop don't matter"
            yield Finding((*path, "cases", case), message, "rename or join them")


def _copies(member: Member) -> int:
    return member.copies if isinstance(member, MemberConfig) else 1


def _members(section: StepConfig) -> list[Member]:
    """The members that a flow runs, all of them."""
    match section:
        case SequenceConfig():
            return section.sequence
        case LoopConfig():
            return section.loop
        case GraphConfig():
            return section.graph
        case ParallelConfig():
            return section.parallel
        case _:
            return []


def _closure(needs: tuple[frozenset[int], ...]) -> list[set[int]]:
    """For each position all those before it, near and far. There is no circle."""
    found: list[set[int]] = [set(need) for need in needs]
    changed = True
    while changed:
        changed = False
        for before in found:
            more = set[int]().union(*(found[each] for each in before)) - before
            changed = changed or bool(more)
            before |= more
    return found


def _sections_with_paths(config: Config) -> Iterator[tuple[Path, StepConfig]]:
    """Every agent and group, those written in place included, and where each stands."""
    for key in ("agents", "groups", "workflow"):
        yield from _below(getattr(config, key), (key,))


def _below(value: Any, path: Path) -> Iterator[tuple[Path, StepConfig]]:
    if isinstance(value, BaseModel):
        if isinstance(value, StepConfig):
            yield path, value
        for name, field in type(value).model_fields.items():
            yield from _below(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, list):
        for index, each in enumerate(cast("list[Any]", value)):
            yield from _below(each, (*path, index))
    elif isinstance(value, dict):
        for key, each in cast("dict[str, Any]", value).items():
            yield from _below(each, (*path, key))
