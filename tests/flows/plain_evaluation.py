"""What a workflow should come to: one step after the other, without limits, time or tasks, straight from the config.

Written apart from the code it judges, for configs of echoing, failing and picky agents as `random_workflows.py` draws
them. It keeps what each agent was asked, in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

Binding = tuple[str, Any]
"""A name, and what templates see as its output from then on."""


@dataclass
class Ended:
    """How a step ended. `fine`: the flow around it goes on. `tolerated`: it failed, and that is fine."""

    status: str
    output: Any = None
    error: str | None = None
    fine: bool = True
    binds: list[Binding] = field(default_factory=list)
    name: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"


class Failed(Exception):
    """A runnable failed, with what the steps inside it had come to."""

    def __init__(self, error: str, binds: list[Binding]) -> None:
        super().__init__(error)
        self.error = error
        self.binds = binds


@dataclass
class Given:
    """What a runnable gave."""

    output: Any
    binds: list[Binding]
    skipped: bool = False


BAD_ANSWERS = {"content_filter"}
Env = dict[str, Any]


class Evaluation:
    """One item's way through a config."""

    def __init__(self, config: dict[str, Any], item: dict[str, Any]) -> None:
        self.config = config
        self.item = item
        self.asked: Counter[str] = Counter()

    def run(self) -> Ended:
        """The item's end."""
        workflow = self.config.get("workflow")
        try:
            if workflow is None:
                given = self.graph({"graph": self.all_agents()}, {})
            else:
                given = self.sequence({"sequence": workflow if isinstance(workflow, list) else [workflow]}, {})
        except Failed as failed:
            return Ended("error", error=failed.error, fine=False)
        return Ended("skipped" if given.skipped else "ok", given.output)

    def all_agents(self) -> list[str]:
        stand_ins = {other for agent in self.config["agents"].values() for other in agent.get("fallback", [])}
        return [name for name in self.config["agents"] if name not in stand_ins] or list(self.config["agents"])

    # steps

    def step(self, member: Any, env: Env, label: str | None = None) -> Ended:
        """A member in its place, with everything its config wraps around it."""
        name, section = self.named(member)
        ended = self.guarded(name, section, env)
        ended.name = label or name
        own = ended.output if ended.ok or ended.output is not None else None
        if name != "loop":
            ended.binds.append((name, own))
        return ended

    def named(self, member: Any) -> tuple[str, dict[str, Any]]:
        if isinstance(member, str):
            return member, {**self.config["agents"], **self.config["groups"]}[member]
        if "agent" in member:
            return self.named(member["agent"])
        kind = next(key for key in ("then", "loop", "parallel", "route", "sequence", "graph") if key in member)
        return member.get("name", "condition" if kind == "then" else kind), member

    def guarded(self, name: str, section: dict[str, Any], env: Env) -> Ended:
        if "when" in section and "then" not in section:
            try:
                if not self.holds(section["when"], env):
                    return Ended("skipped")
            except Failed as failed:
                return self.tolerated(section, failed)
        try:
            given = self.mapped(name, section, env)
        except Failed as failed:
            return self.tolerated(section, failed)
        return Ended("skipped" if given.skipped else "ok", given.output, binds=given.binds)

    def tolerated(self, section: dict[str, Any], failed: Failed) -> Ended:
        terms = section.get("on_error", "fail")
        if isinstance(terms, dict):
            return Ended("error", terms["default"], failed.error, True, failed.binds)
        fine = terms == "continue" and "sequence" not in section
        return Ended("error", None, failed.error, fine, failed.binds)

    def mapped(self, name: str, section: dict[str, Any], env: Env) -> Given:
        if "for_each" not in section:
            return self.with_fallback(name, section, env)
        ends, binds = [], []
        for value in self.item["list"]:
            try:
                given = self.with_fallback(name, section, {**env, "each": value})
                ends.append(Ended("skipped" if given.skipped else "ok", given.output, binds=given.binds))
            except Failed as failed:
                ends.append(self.tolerated(section, failed))
            binds += [*ends[-1].binds, (name, ends[-1].output)]
        for ended in ends:
            if not ended.fine:
                raise Failed(ended.error or "", binds)
        return Given([ended.output for ended in ends], binds)

    def with_fallback(self, name: str, section: dict[str, Any], env: Env) -> Given:
        try:
            return self.retried(name, section, env)
        except Failed as failed:
            error, binds = failed.error, failed.binds
        for other in section.get("fallback", []):
            ended = self.step(other, env)
            binds += ended.binds
            if ended.ok or (ended.fine and ended.output is not None):
                return Given(ended.output, binds)
            if ended.status != "skipped":
                error = ended.error or ""
        raise Failed(error, binds)

    def retried(self, name: str, section: dict[str, Any], env: Env) -> Given:
        binds: list[Binding] = []
        for left in range(section.get("retries", 0), -1, -1):
            try:
                given = self.plain(name, section, env)
                return Given(given.output, binds + given.binds, given.skipped)
            except Failed as failed:
                binds += failed.binds
                if failed.error not in BAD_ANSWERS or not left:
                    raise Failed(failed.error, binds) from None
        raise AssertionError

    # kinds

    def plain(self, name: str, section: dict[str, Any], env: Env) -> Given:
        for kind in ("sequence", "parallel", "loop", "then", "route", "graph"):
            if kind in section:
                return getattr(self, {"then": "condition"}.get(kind, kind))(section, env, name)
        return self.agent(name, section, env)

    def agent(self, name: str, section: dict[str, Any], env: Env) -> Given:
        if section["does"] == "picky" and self.item["x"] == 1:
            raise Failed("template", [])
        each = as_text(env["each"]) if "for_each" in section else ""
        said = ",".join(as_text(env.get(other)) for other in section["reads"])
        prompt = f"{name}{each}({said})"
        self.asked[prompt] += 1
        if section["does"] == "bad":
            raise Failed("content_filter", [])
        return Given(prompt, [])

    def sequence(self, section: dict[str, Any], env: Env, name: str = "") -> Given:
        binds: list[Binding] = []
        last = error = None
        for member in section["sequence"]:
            ended = self.step(member, {**env, **dict(binds)})
            binds += ended.binds
            if ended.status != "skipped":
                last = ended
            if not ended.fine:
                error = error or ended.error
                if section.get("on_error") != "continue":
                    break
        if error is not None:
            raise Failed(error, binds)
        return Given(None, binds, True) if last is None else Given(last.output, binds)

    def loop(self, section: dict[str, Any], env: Env, name: str) -> Given:
        binds: list[Binding] = []
        outputs: list[Any] = []
        ran: list[Any] = []
        met = False
        for number in range(1, section["max_iterations"] + 1):
            try:
                given = self.sequence({"sequence": section["loop"]}, {**env, **dict(binds)})
            except Failed as failed:
                raise Failed(failed.error, binds + failed.binds) from None
            binds += given.binds
            if name != "loop":
                binds.append((name, given.output))
            outputs.append(given.output)
            ran += [] if given.skipped else [given.output]
            if "until" in section and number >= section["until_index"]:
                met = True
                break
        if "until" in section and not met and section.get("on_max") == "error":
            raise Failed("condition", binds)
        if section.get("collect") == "all":
            return Given(outputs, binds)
        return Given(ran[-1], binds) if ran else Given(None, binds, True)

    def condition(self, section: dict[str, Any], env: Env, name: str) -> Given:
        member = section["then"] if self.holds(section["when"], env) else section.get("else")
        if member is None:
            return Given(None, [], True)
        ended = self.step(member, env)
        if not ended.fine:
            raise Failed(ended.error or "", ended.binds)
        return Given(ended.output, ended.binds, ended.status == "skipped")

    def route(self, section: dict[str, Any], env: Env, name: str) -> Given:
        members = section["cases"].get(self.item["kind"], section.get("default"))
        if members is None:
            raise Failed("condition", [])
        members = members if isinstance(members, list) else [members]
        members = [each for at, each in enumerate(members) if isinstance(each, dict) or each not in members[:at]]
        ends = [self.step(member, env) for member in members]
        binds = [bind for ended in ends for bind in ended.binds]
        for ended in ends:
            if not ended.fine:
                raise Failed(ended.error or "", binds)
        skipped = all(ended.status == "skipped" for ended in ends)
        if len(ends) == 1:
            return Given(ends[0].output, binds, skipped)
        return Given(as_map(ends), binds, skipped)

    def expanded(self, members: list[Any]) -> Iterator[tuple[Any, str | None, int]]:
        """Each member, what a copy of it is called, and how many of them there are."""
        for member in members:
            copies = member.get("copies", 1) if isinstance(member, dict) else 1
            name, _ = self.named(member)
            for number in range(1, copies + 1):
                yield member, (f"{name}[{number}]" if copies > 1 else None), copies

    def side_by_side(self, members: list[Any], envs: list[Env]) -> tuple[list[Ended], list[Binding]]:
        ends: list[Ended] = []
        binds: list[Binding] = []
        late: dict[str, list[Any]] = {}
        for (member, label, _), env in zip(self.expanded(members), envs, strict=True):
            ended = self.step(member, env, label)
            ends.append(ended)
            binds += ended.binds
            if label is not None:
                binds.pop()
                late.setdefault(self.named(member)[0], []).append(ended.output)
        for name, outputs in late.items():
            binds.append((name, outputs if any(output is not None for output in outputs) else None))
        return ends, binds

    def parallel(self, section: dict[str, Any], env: Env, name: str) -> Given:
        count = len(list(self.expanded(section["parallel"])))
        ends, binds = self.side_by_side(section["parallel"], [env] * count)
        skipped = sum(ended.status == "skipped" for ended in ends)
        if skipped == count:
            return Given(None, binds, True)
        good = sum(ended.fine and ended.status != "skipped" for ended in ends)
        success = section.get("success", "all")
        needed = count - skipped if success == "all" else 1 if success == "any" else success["quorum"]
        if good < needed:
            failed = [ended for ended in ends if not ended.fine]
            raise Failed((failed[0].error or "") if failed else "condition", binds)
        return self.aggregated(section.get("aggregate", "map"), ends, binds, env)

    def aggregated(self, how: Any, ends: list[Ended], binds: list[Binding], env: Env) -> Given:
        ok = [ended for ended in ends if ended.ok]
        if how == "list":
            return Given([ended.output for ended in ends], binds)
        if how == "concat":
            return Given("\n\n".join(sorted_text(ended.output) for ended in ok), binds)
        if how == "vote":
            ballots = [ballot(ended.output) for ended in ok]
            most = max((ballots.count(each) for each in ballots), default=0)
            winners = [end.output for end, each in zip(ok, ballots, strict=True) if ballots.count(each) == most]
            return Given(winners[0] if winners else None, binds)
        if isinstance(how, dict) and "best" in how:
            scored = [ended for ended in ends if ended.output is not None]
            best = max(scored, key=lambda ended: len(as_text(ended.output)), default=None)
            return Given(best.output if best else None, binds)
        if isinstance(how, dict):
            judged = self.step(how["agent"], {**env, **dict(binds)})
            if not judged.fine:
                raise Failed(judged.error or "", binds + judged.binds)
            return Given(judged.output, binds + judged.binds)
        return Given(as_map(ends), binds)

    def graph(self, section: dict[str, Any], env: Env, name: str = "") -> Given:
        members = section["graph"]
        needs = self.needs(members)
        ends: dict[int, list[Ended]] = {}
        binds: dict[int, list[Binding]] = {}
        out: set[int] = set()
        order: list[int] = []
        while len(order) < len(members):
            place = next(at for at in range(len(members)) if at not in order and needs[at] <= set(order))
            order.append(place)
            if any(need in out or not all(end.fine for end in ends[need]) for need in needs[place]):
                out.add(place)
                ends[place], binds[place] = [Ended("skipped")], []
                continue
            before = [each for each in order if each in ancestors(place, needs)]
            seen = {**env, **dict(bind for each in before for bind in binds[each])}
            copies = len(list(self.expanded([members[place]])))
            ends[place], binds[place] = self.side_by_side([members[place]], [seen] * copies)
        every = [bind for place in order for bind in binds[place]]
        flat = [end for place in range(len(members)) for end in ends[place]]
        for end in flat:
            if not end.fine:
                raise Failed(end.error or "", every)
        if all(end.status == "skipped" for end in flat):
            return Given(None, every, True)
        needed = set[int]().union(*needs.values())
        last = [end for place in range(len(members)) if place not in needed for end in ends[place]]
        return Given(last[0].output if len(last) == 1 else as_map(last), every)

    def needs(self, members: list[Any]) -> dict[int, set[int]]:
        inside = [self.inside(member) for member in members]
        reads = [self.reads(names, member) - names for names, member in zip(inside, members, strict=True)]
        return {
            at: {other for other, names in enumerate(inside) if other != at and names & reads[at]}
            for at in range(len(members))
        }

    def inside(self, member: Any) -> set[str]:
        name, section = self.named(member)
        return {name}.union(*(self.inside(part) for part in parts(section)))

    def reads(self, inside: set[str], member: Any) -> set[str]:
        return {
            name for each in inside if each in self.config["agents"] for name in self.config["agents"][each]["reads"]
        }

    def holds(self, expression: str, env: Env) -> bool:
        if expression == "input.none.z":
            raise Failed("condition", [])
        left, right = expression.removeprefix("input.x ").split()
        return self.item["x"] == int(right) if left == "==" else self.item["x"] > int(right)


def parts(section: dict[str, Any]) -> list[Any]:
    """The members written in a section."""
    found: list[Any] = [*section.get("fallback", [])]
    for key in ("sequence", "parallel", "loop", "graph"):
        found += section.get(key, [])
    found += [section[key] for key in ("then", "else") if key in section]
    for ways in [*section.get("cases", {}).values(), section.get("default")]:
        found += ways if isinstance(ways, list) else [] if ways is None else [ways]
    if isinstance(section.get("aggregate"), dict) and "agent" in section["aggregate"]:
        found.append(section["aggregate"]["agent"])
    return found


def ancestors(place: int, needs: dict[int, set[int]]) -> set[int]:
    return needs[place].union(*(ancestors(need, needs) for need in needs[place]))


def as_map(ends: list[Ended]) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for ended in ends:
        name, count = ended.name, 1
        while name in outputs:
            count += 1
            name = f"{ended.name}#{count}"
        outputs[name] = ended.output
    return outputs


def as_text(value: Any) -> str:
    """As a template shows it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def sorted_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def ballot(value: Any) -> str:
    return " ".join(value.lower().split()) if isinstance(value, str) else sorted_text(value)
