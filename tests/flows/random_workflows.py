"""Configs drawn at random: every kind of flow, nested, with limits from 1 up on everything that can have one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

AGENTS = 6
CONDITIONS = ["input.x == 0", "input.x == 1", "input.x > 0", "input.none.z"]


def limits() -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, None, 1, 1, 2, 3])


def rates() -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, None, None, 6, 60, 600])


def timeouts() -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, None, None, None, 1, 2, 4])


@st.composite
def agents(draw: st.DrawFn) -> dict[str, Any]:
    """`a0` to `a5`. Each reads some before it and falls back on some after it, so that no circle can close."""
    return {f"a{number}": draw(agent(number)) for number in range(AGENTS)}


@st.composite
def agent(draw: st.DrawFn, number: int) -> dict[str, Any]:
    before = [f"a{other}" for other in range(number)]
    after = [f"a{other}" for other in range(number + 1, AGENTS)]
    found: dict[str, Any] = {
        "does": draw(st.sampled_from(["echo"] * 6 + ["bad", "picky"])),
        "model": draw(st.sampled_from(["quick", "slow"])),
        "reads": draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else [],
    }
    if draw(st.integers(0, 4)) == 0:
        found["when"] = draw(st.sampled_from(CONDITIONS))
    if draw(st.integers(0, 4)) == 0 and after:
        found["fallback"] = draw(st.lists(st.sampled_from(after), min_size=1, max_size=2, unique=True))
    if draw(st.integers(0, 5)) == 0:
        found["for_each"] = "input.list"
    if draw(st.integers(0, 5)) == 0:
        found["retries"] = 1
    found |= draw(tolerance())
    if (most := draw(limits())) is not None:
        found["max_concurrency"] = most
    return found


@st.composite
def tolerance(draw: st.DrawFn) -> dict[str, Any]:
    choice = draw(st.sampled_from([None] * 6 + ["continue", {"default": "made up"}, {"default": None}]))
    return {} if choice is None else {"on_error": choice}


@st.composite
def group(draw: st.DrawFn, leaves: list[str], depth: int, *, in_place: bool = False) -> dict[str, Any]:
    """A group over these names and, while there is depth left, groups written in place."""
    member = st.sampled_from(leaves)
    if depth:
        member = st.one_of(member, member, group(leaves, depth - 1, in_place=True))
    many = st.lists(member, min_size=1, max_size=3)
    kind = draw(st.sampled_from(["sequence", "parallel", "loop", "then", "route", "graph"]))
    found: dict[str, Any]
    if kind == "sequence":
        found = {"sequence": draw(many)}
    elif kind == "parallel":
        found = draw(parallel(many, leaves))
    elif kind == "loop":
        found = draw(loop(many))
    elif kind == "then":
        found = {"when": draw(st.sampled_from(CONDITIONS)), "then": draw(member)}
        found |= {"else": draw(member)} if draw(st.booleans()) else {}
    elif kind == "route":
        way = st.one_of(member, st.lists(member, min_size=1, max_size=2))
        found = {"route": "input.kind", "cases": {"p": draw(way), "q": draw(way)}}
        found |= {"default": draw(way)} if draw(st.booleans()) else {}
    else:
        found = {"graph": draw(st.lists(st.sampled_from(leaves), min_size=1, max_size=4, unique=True))}
    if draw(st.integers(0, 4)) == 0:
        found["retries"] = 1
    if draw(st.integers(0, 5)) == 0 and not in_place:
        found["for_each"] = "input.list"
    if kind != "then" and draw(st.integers(0, 5)) == 0:
        found["when"] = draw(st.sampled_from(CONDITIONS))
    found |= draw(tolerance())
    if draw(st.integers(0, 5)) == 0:
        found["fallback"] = [draw(st.sampled_from(leaves[:AGENTS]))]
    if (most := draw(limits())) is not None:
        found["max_concurrency"] = most
    return found


@st.composite
def parallel(draw: st.DrawFn, many: st.SearchStrategy[list[Any]], leaves: list[str]) -> dict[str, Any]:
    members = draw(many)
    if draw(st.integers(0, 2)) == 0:
        members = [*members, {"agent": draw(st.sampled_from(leaves)), "copies": draw(st.integers(2, 3))}]
    aggregates: list[Any] = ["map", "list", "concat", "vote", {"best": "output | string | length"}]
    size = len(members) + (2 if isinstance(members[-1], dict) and "copies" in members[-1] else 0)
    success: Any = draw(st.sampled_from(["all", "any", {"quorum": min(2, size)}]))
    aggregate = draw(st.sampled_from([*aggregates, {"agent": leaves[0]}]))
    return {"parallel": members, "success": success, "aggregate": aggregate}


@st.composite
def loop(draw: st.DrawFn, many: st.SearchStrategy[list[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"loop": draw(many), "max_iterations": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        index = draw(st.integers(1, 4))
        found |= {"until": f"loop.index >= {index}", "until_index": index}
        found |= {"on_max": draw(st.sampled_from(["ok", "error"]))}
    if draw(st.integers(0, 2)) == 0:
        found["collect"] = "all"
    return found


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """A whole config, as `plain_evaluation.py` understands it; `written` makes a real one of it."""
    leaves = [f"a{number}" for number in range(AGENTS)]
    groups: dict[str, Any] = {}
    for number in range(draw(st.integers(0, 4))):
        groups[f"g{number}"] = draw(group([*leaves, *groups], draw(st.integers(0, 2))))
    config: dict[str, Any] = {"agents": draw(agents()), "groups": groups}
    if groups or draw(st.integers(0, 3)):
        names = [*list(groups)[-2:], *draw(st.lists(st.sampled_from(leaves), min_size=0, max_size=2))]
        config["workflow"] = draw(st.permutations(names or leaves[:2]))
    latencies = st.sampled_from(["0s", "1s", "3s"])
    config["models"] = {
        name: {"latency": draw(latencies), "max_concurrency": draw(st.sampled_from([1, 2, 3, 64]))}
        for name in ("quick", "slow")
    }
    config["limits"] = {"max_concurrency": draw(st.integers(1, 4))}
    return config


@st.composite
def hurried_workflows(draw: st.DrawFn) -> dict[str, Any]:
    """Such a config with rates, timeouts, races and groups that give up early: its end depends on time."""
    config = draw(workflows())
    for section in (*config["agents"].values(), *config["groups"].values()):
        if (seconds := draw(timeouts())) is not None:
            section["timeout"] = seconds
        if "parallel" in section:
            section["fail_fast"] = draw(st.booleans())
            section["aggregate"] = draw(st.sampled_from([section["aggregate"], "first"]))
    for section in (*config["agents"].values(), *config["models"].values()):
        if (rpm := draw(rates())) is not None:
            section["rpm"] = rpm
    return config


def written(config: dict[str, Any]) -> dict[str, Any]:
    """The drawn config with real prompts and models."""
    models: dict[str, Any] = {}
    for name, model in config["models"].items():
        models[name] = {"provider": "mock", "reply": "{{ prompt }}", **model}
        models[f"{name}_bad"] = {"provider": "mock", "errors": {"content_filter": 1}, **model}
    return {
        "version": 1,
        "models": models,
        "agents": {name: _agent(name, agent) for name, agent in config["agents"].items()},
        **({"groups": {name: _group(each) for name, each in config["groups"].items()}} if config["groups"] else {}),
        **({"workflow": config["workflow"]} if "workflow" in config else {}),
        "limits": config["limits"],
    }


def _agent(name: str, drawn: dict[str, Any]) -> dict[str, Any]:
    reads = ",".join(f"{{{{ {other}.output }}}}" for other in drawn["reads"])
    each = "{{ each.value }}" if "for_each" in drawn else ""
    picky = "{% if input.x == 1 %}{{ input.not_there }}{% endif %}" if drawn["does"] == "picky" else ""
    rest = {key: value for key, value in drawn.items() if key not in ("does", "reads", "model")}
    model = f"{drawn['model']}_bad" if drawn["does"] == "bad" else drawn["model"]
    return {"model": model, "prompt": f"{picky}{name}{each}({reads})", **rest}


def _group(drawn: Any) -> Any:
    if isinstance(drawn, list):
        return [_group(each) for each in drawn]
    if isinstance(drawn, dict):
        return {key: _group(value) for key, value in drawn.items() if key != "until_index"}
    return drawn
