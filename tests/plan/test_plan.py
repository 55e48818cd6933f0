"""Plans: what runs, when, how often, and how that is drawn."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentbatch.batch import run_to_end
from agentbatch.config import Config, load
from agentbatch.errors import ConfigError
from agentbatch.plan import Plan, PlanNode, calls_of, make_plan
from agentbatch.plan.calls import Calls, Times
from agentbatch.plan.diagram import render_dot, render_mermaid
from agentbatch.plan.text import render_tree
from agentbatch.process.event_loop import run_loop
from agentbatch.results.files import ResultFiles
from agentbatch.run.options import RunOptions

ROOT = Path(__file__).parents[1]

SCORED = {"type": "object", "properties": {"score": {"type": "number"}, "kind": {"enum": ["a", "b"]}, "tags": {}}}
AGENTS: dict[str, Any] = {
    "writer": {"model": "m", "prompt": "Write about {{ input.topic }}"},
    "critic": {"model": "m", "prompt": "Review {{ writer.output }}", "output_schema": SCORED},
    "seo": {"model": "n", "prompt": "Keywords of {{ writer.output }}"},
    "legal": {"model": "n", "prompt": "Check {{ input.topic }}"},
}


def config_of(folder: Path, **sections: Any) -> Config:
    agents = {name: {**agent, **sections.get("change", {}).get(name, {})} for name, agent in AGENTS.items()}
    sections.pop("change", None)
    models = {"m": {"provider": "mock"}, "n": {"provider": "mock"}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "models": models, "agents": agents, **sections}, sort_keys=False))
    return load(path, environ={})


def plan_of(folder: Path, **sections: Any) -> Plan:
    return make_plan(config_of(folder, **sections))


def group(folder: Path, **config: Any) -> PlanNode:
    """The plan of one group, called `it`."""
    (node,) = plan_of(folder, groups={"it": config}, workflow="it").root.children
    return node


def names(node: PlanNode) -> list[str]:
    return [child.name for child in node.children]


def test_a_sequence_asks_for_all_its_members(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, workflow=["writer", "critic", "seo"])
    assert (plan.root.kind, plan.root.parallel, names(plan.root)) == ("sequence", False, ["writer", "critic", "seo"])
    assert [node.calls for node in plan.root.children] == [Calls(1, 1), Calls(1, 2), Calls(1, 1)]
    assert plan.root.calls == Calls(3, 4)


def test_a_parallel_group_with_copies_and_a_judge(tmp_path: Path) -> None:
    node = group(
        tmp_path, parallel=["legal", {"agent": "writer", "copies": 5}], aggregate={"agent": "critic"}, success="any"
    )
    assert node.parallel
    assert [(child.name, child.copies, child.role) for child in node.children] == [
        ("legal", 1, "member"),
        ("writer", 5, "member"),
        ("critic", 1, "helper"),
    ]
    assert node.calls == Calls(1 + 5 + 1, 1 + 5 + 2)
    assert "one must succeed" in node.detail


def test_a_race_may_end_with_its_cheapest_member(tmp_path: Path) -> None:
    assert group(tmp_path, parallel=["legal", "writer", "critic"], aggregate="first").calls == Calls(1, 4)


def test_a_loop_with_a_condition_may_end_after_one_iteration(tmp_path: Path) -> None:
    node = group(tmp_path, loop=["writer", "critic"], until="critic.output.score > 0.8", max_iterations=3)
    assert node.times == Times(1, 3)
    assert node.calls == Calls(2, 9)
    assert "up to 3 times until critic.output.score > 0.8" in node.detail


def test_a_loop_with_while_may_not_run_at_all_and_one_without_runs_to_its_bound(tmp_path: Path) -> None:
    loop = {"loop": ["writer"], "max_iterations": 4}
    assert group(tmp_path, **loop, **{"while": "loop.index < 3"}).calls == Calls(0, 4)
    assert group(tmp_path, **loop).calls == Calls(4, 4)


def test_a_condition_takes_one_of_two_ways(tmp_path: Path) -> None:
    node = group(tmp_path, **{"when": "input.eu", "then": "legal", "else": {"sequence": ["writer", "seo"]}})
    assert [(child.label, child.name) for child in node.children] == [("then", "legal"), ("else", "sequence")]
    assert node.calls == Calls(1, 2)
    assert not node.conditional


def test_a_condition_without_else_may_be_passed_by(tmp_path: Path) -> None:
    node = group(tmp_path, when="input.eu", then="legal")
    assert (node.conditional, node.calls) == (True, Calls(0, 1))


def test_a_route_takes_the_way_that_a_text_names(tmp_path: Path) -> None:
    node = group(tmp_path, route="writer.output", cases={"a": "legal", "b": ["seo", "writer", "legal"]}, default="seo")
    assert [child.label for child in node.children] == ["case a", "case b", "default"]
    assert node.calls == Calls(1, 3)


@pytest.mark.parametrize(
    ("route", "several"),
    [
        ("critic.output.kind", False),
        ("critic.output.score", False),
        ("critic.output.tags", True),
        ("writer.output", False),
        ("input.kind", True),
        ({"agent": "writer"}, False),
        ({"agent": "critic"}, False),
    ],
)
def test_only_a_list_takes_several_ways(tmp_path: Path, route: Any, several: bool) -> None:
    cases = {"a": "legal", "b": "seo"}
    node = group(tmp_path, route=route, cases=cases)
    router = {"writer": Calls(1, 1), "critic": Calls(1, 2)}.get(route["agent"] if isinstance(route, dict) else "")
    expected = Calls(1, 2 if several else 1) + (router or Calls())
    assert node.calls == expected


def test_a_graph_has_waves(tmp_path: Path) -> None:
    node = group(tmp_path, graph=["critic", "seo", "writer", "legal"])
    assert [(child.name, child.wave, child.waits_for) for child in node.children] == [
        ("critic", 2, (2,)),
        ("seo", 2, (2,)),
        ("writer", 1, ()),
        ("legal", 1, ()),
    ]
    assert node.calls == Calls(4, 5)


def test_without_a_workflow_it_is_a_graph_of_all_agents(tmp_path: Path) -> None:
    assert plan_of(tmp_path).root.kind == "graph"


def test_for_each_has_no_bound(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, change={"seo": {"for_each": "input.parts"}}, workflow=["writer", "seo"])
    node = plan.root.children[1]
    assert (node.kind, node.parallel, node.calls) == ("for_each", True, Calls(0, None))
    assert plan.root.calls == Calls(1, None)
    assert str(plan.root.calls) == "1 to many calls"


def test_guards_retries_and_fallbacks_widen_the_range(tmp_path: Path) -> None:
    change = {"writer": {"when": "input.on", "retries": 2, "fallback": ["legal", "seo"]}}
    (node,) = plan_of(tmp_path, change=change, workflow="writer").root.children
    assert node.conditional
    assert [(child.name, child.role) for child in node.children] == [("legal", "fallback"), ("seo", "fallback")]
    assert node.calls == Calls(0, 3 + 1 + 1)


def test_copies_of_a_group_ask_as_often_as_all_of_them(tmp_path: Path) -> None:
    groups = {"pair": {"sequence": ["writer", "seo"]}}
    plan = plan_of(tmp_path, groups=groups, workflow=[{"agent": "pair", "copies": 3}])
    assert plan.root.calls == Calls(6, 6)


def test_a_react_agent_asks_as_often_as_it_has_turns(tmp_path: Path) -> None:
    change = {"writer": {"kind": "react", "tools": ["legal"], "max_turns": 5}}
    (node,) = plan_of(tmp_path, change=change, workflow="writer").root.children
    assert node.own == Calls(1, 5)
    assert [(child.name, child.role) for child in node.children] == [("legal", "tool")]
    assert node.calls == Calls(1, None)


def test_agents_without_a_model_ask_none(tmp_path: Path) -> None:
    agents = {
        "clean": {"kind": "function", "function": "json:dumps", "arguments": {"obj": 1}},
        "coder": {"kind": "command", "command": ["sh", "-c", "true"]},
    }
    plan = plan_of(tmp_path, agents=agents, models={}, workflow=["clean", "coder"])
    assert [(node.kind, node.detail) for node in plan.root.children] == [
        ("function", "json:dumps"),
        ("command", "sh"),
    ]
    assert (plan.root.calls, plan.models) == (Calls(), ())
    assert "models" not in render_tree(plan)


def test_models_are_told_with_who_asks_them_and_what_limits_them(tmp_path: Path) -> None:
    config = config_of(tmp_path, workflow=["writer", "critic", "seo", {"when": "input.x", "then": "legal"}])
    config = config.model_copy(
        update={"models": {**config.models, "m": config.models["m"].model_copy(update={"fallbacks": ["spare"]})}}
    )
    config = config.model_copy(update={"models": {**config.models, "spare": config.models["n"]}})
    models = {model.name: model for model in make_plan(config).models}
    assert list(models) == ["m", "n", "spare"]
    assert (models["m"].agents, models["m"].calls, models["m"].fallbacks) == (
        ("writer", "critic"),
        Calls(2, 3),
        ("spare",),
    )
    assert (models["n"].agents, models["n"].calls) == (("seo", "legal"), Calls(1, 2))
    assert models["spare"].agents == ()
    assert "64 at once" in models["m"].limits


def test_calls_by_model_add_up_to_all_calls(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, **EVERYTHING)
    assert sum(calls_of(plan.root, model.name).least for model in plan.models) <= plan.root.calls.least
    (refine, *_) = plan.root.children
    assert (calls_of(refine, "m"), calls_of(refine, "n")) == (Calls(2, 12), Calls(0, None))
    assert refine.calls == Calls(2, None)


def test_groups_that_multiply_are_refused(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"g0": {"sequence": ["writer"] * 10}}
    for number in range(1, 6):
        groups[f"g{number}"] = {"sequence": [f"g{number - 1}"] * 10}
    with pytest.raises(ConfigError, match="more than 10,000 steps"):
        plan_of(tmp_path, groups=groups, workflow="g5")


def test_groups_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"g0": {"sequence": ["writer"]}}
    for number in range(1, 400):
        groups[f"g{number}"] = {"sequence": [f"g{number - 1}"]}
    with pytest.raises(ConfigError, match=r"nested (too deeply|more than 30 levels deep)"):
        plan_of(tmp_path, groups=groups, workflow="g399")


def test_paths_are_the_keys_of_result_lines(tmp_path: Path) -> None:
    change = {"seo": {"for_each": "[1, 2]"}, "writer": {"fallback": ["legal"]}}
    groups = {
        "refine": {"loop": ["writer", "critic"], "max_iterations": 2},
        "panel": {"parallel": ["seo", {"agent": "critic", "copies": 2}]},
    }
    config = config_of(
        tmp_path, change=change, groups=groups, workflow=["refine", "panel", {"agent": "writer", "copies": 2}]
    )
    (tmp_path / "in.jsonl").write_text('{"topic": "t"}\n')
    run_loop(run_to_end(config, RunOptions(str(tmp_path / "in.jsonl"), ResultFiles(tmp_path / "out.jsonl"))))
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert line["status"] == "ok", line["error"]
    planned = {node.path for node in make_plan(config).root.walk() if node.path and node.role != "fallback"}
    told = {re.sub(r"\[\d+\]", "[n]", path) for path in line["agents"]}
    assert told - planned == {"refine[n]", "writer"}, "an iteration, and the copies as one"
    assert planned <= told


# drawings

EVERYTHING: dict[str, Any] = {
    "change": {
        "writer": {"fallback": ["legal"], "retries": 1},
        "seo": {"when": "input.name == 'x\"y' and input.n < 3 and input.a | length > 0"},
        "legal": {"for_each": "input.parts"},
    },
    "groups": {
        "refine": {"loop": ["writer", "critic"], "until": "critic.output.score > 0.8", "max_iterations": 3},
        "panel": {"parallel": ["seo", {"agent": "writer", "copies": 3}], "aggregate": {"agent": "critic"}},
        "triage": {
            "route": "critic.output.kind",
            "cases": {'a b"c': "refine", "b": ["seo", "legal"]},
            "default": "seo",
        },
        "gate": {"when": "input.eu", "then": "panel"},
        "flow": {"graph": ["seo", "legal", "writer"]},
    },
    "workflow": ["refine", "panel", "triage", "gate", "flow", "seo"],
    "limits": {"max_cost": 5},
}


def test_the_tree_fits_a_terminal_and_tells_everything(tmp_path: Path) -> None:
    text = render_tree(plan_of(tmp_path, **EVERYTHING))
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "├─ refine  loop up to 3 times",
        "fallback: legal",
        "case b",
        "default: seo",
        "writer ×3",
        "judge: critic",
    ):
        assert words in text
    assert "2. critic" not in text and "1. writer" in text and "after writer" in text
    assert "limits  $5 in all" in text


def test_the_tree_can_do_with_ascii(tmp_path: Path) -> None:
    config = config_of(tmp_path, workflow=["writer", {"parallel": ["legal", "seo"], "name": "both"}])
    text = render_tree(make_plan(config), unicode=False)
    assert text.isascii()
    assert "|- writer" in text and "`- both" in text


def test_a_condition_cannot_reach_the_terminal(tmp_path: Path) -> None:
    change = {"writer": {"when": "input.x == '\x1b[31m'"}}
    for draw in (render_tree, render_mermaid, render_dot):
        assert "\x1b" not in draw(plan_of(tmp_path, change=change, workflow="writer"))


MERMAID_BOX = re.compile(r'(\w+)(?:\[|\{|\(\[|\(\()("[^"\n]*")(?:\]|\}|\]\)|\)\))')
MERMAID_ARROW = re.compile(r'(\w+) -{1,2}\.?->(?:\|"[^"\n]*"\|)? (\w+)')


def mermaid_boxes_and_arrows(text: str) -> tuple[set[str], list[tuple[str, str]]]:
    """Reads the part of Mermaid that we write; anything else is an error."""
    first, *lines = text.splitlines()
    assert first == "flowchart TD"
    boxes: set[str] = set()
    arrows: list[tuple[str, str]] = []
    depth = 0
    for line in map(str.strip, lines):
        if line == "end":
            depth -= 1
            assert depth >= 0
        elif line.startswith("subgraph "):
            assert re.fullmatch(r'subgraph \w+\["[^"\n]*"\]', line), line
            depth += 1
        elif box := MERMAID_BOX.fullmatch(line):
            assert box[1] not in boxes
            boxes.add(box[1])
        else:
            arrow = MERMAID_ARROW.fullmatch(line)
            assert arrow, line
            arrows.append((arrow[1], arrow[2]))
    assert depth == 0
    return boxes, arrows


DOT_TOKEN = re.compile(r'\s+|"(?:[^"\\\n]|\\.)*"|->|[{}\[\];=,]|\w+')


def dot_boxes_and_arrows(text: str) -> tuple[set[str], list[tuple[str, str]]]:
    """Reads a DOT file as its grammar has it: statements of tokens, nothing between them."""
    found = list(DOT_TOKEN.finditer(text))
    assert "".join(match[0] for match in found) == text
    tokens = [match[0] for match in found if not match[0].isspace()]
    assert tokens.count("{") == tokens.count("}") and tokens.count("[") == tokens.count("]")
    statements = re.split(r"[;{}]", " ".join('""' if token.startswith('"') else token for token in tokens))
    boxes = {match[1] for each in statements if (match := re.match(r"\s*(n\d+) \[", each))}
    arrows = [(match[1], match[2]) for each in statements if (match := re.match(r"\s*(\w+) -> (\w+)", each))]
    return boxes, arrows


def assert_connected(boxes: set[str], arrows: list[tuple[str, str]]) -> None:
    """Every box is reached from the first one, and leads to the last one, except a worker that is only called."""
    assert {end for arrow in arrows for end in arrow} <= boxes
    starts = boxes - {end for _, end in arrows}
    assert len(starts) == 1
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        box = waiting.pop()
        if box not in seen:
            seen.add(box)
            waiting += [end for start, end in arrows if start == box]
    assert seen == boxes


@pytest.mark.parametrize("path", ["everything", *sorted(each.name for each in (ROOT / "configs").glob("*.yaml"))])
def test_diagrams_are_well_formed(tmp_path: Path, path: str) -> None:
    if path == "everything":
        plan = plan_of(tmp_path, **EVERYTHING)
    else:
        config = ROOT / "configs" / path
        variables = {*re.findall(r"\$\{(\w+)", config.read_text("utf-8")), "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
        plan = make_plan(load(config, environ=dict.fromkeys(variables, "http://127.0.0.1:9")))
    mermaid = mermaid_boxes_and_arrows(render_mermaid(plan))
    dot = dot_boxes_and_arrows(render_dot(plan))
    assert_connected(*mermaid)
    assert mermaid == dot
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=render_dot(plan), text=True, check=True, capture_output=True, timeout=60)


def test_a_loop_leads_back_and_a_condition_around(tmp_path: Path) -> None:
    groups = {"it": {"loop": ["writer", "critic"], "until": "critic.output.score > 0.8", "max_iterations": 3}}
    plan = plan_of(tmp_path, groups=groups, workflow=["it", {"when": "input.eu", "then": "legal"}])
    text = render_mermaid(plan)
    ids = {label: box for box, label in re.findall(r'(n\d+)\W+"(\w+)', text)}
    assert f'{ids["critic"]} -.->|"again"| {ids["writer"]}' in text
    assert re.search(r'n\d+ -->\|"else"\| ' + ids["result"], text)


def test_parallel_members_meet_in_a_point_where_many_would_cross(tmp_path: Path) -> None:
    both = {"parallel": [{"agent": "writer", "copies": 1}, "legal", "seo"]}
    plan = plan_of(tmp_path, workflow=[{**both, "name": "one"}, {**both, "name": "two"}])
    _, arrows = mermaid_boxes_and_arrows(render_mermaid(plan))
    assert len(arrows) == 3 + 3 + 3 + 3
