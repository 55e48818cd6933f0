"""What a wrong check is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentbatch.config import config_shape, load
from agentbatch.errors import ConfigError
from agentbatch.plan import make_plan

HEAD = """\
version: 1
models: {m: {provider: mock}}
agents:
  a: {model: m, prompt: x}
  j: {model: m, prompt: y}
"""


def told(folder: Path, rest: str) -> str:
    (folder / "c.yaml").write_text(HEAD + rest)
    with pytest.raises(ConfigError) as raised:
        load(folder / "c.yaml", environ={})
    return str(raised.value)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("checks: {x: {}}", "a check has exactly one of contains, not_contains, regex"),
        ("checks: {x: {contains: a, regex: b}}", "not contains and regex"),
        ("checks: {x: {contians: a}}", "did you mean 'contains'?"),
        ("checks: {x: {regex: '('}}", "not a regular expression"),
        ("checks: {x: {json_schema: {type: nonsense}}}", "not a JSON Schema"),
        ("checks: {x: {equals: 'input.a ==='}}", "c.yaml:6:"),
        ("checks: {x: {equals: nope.output}}", "unknown name 'nope'"),
        ("checks: {x: {condition: 'judgement > 1'}}", "only a judge's `score` knows its `judgement`"),
        ("checks: {x: {judge: {agent: b}}}", "unknown agent or group 'b'"),
        ("checks: {x: {judge: {min: 1}}}", "missing key 'agent'"),
        ("checks: {x: {similar: {to: input.a, min: 2}}}", "must be at most 1"),
        ("thresholds: {x: {min: 1}}", "unknown check 'x'"),
        ("checks: {right: {contains: a}}\nthresholds: {rigth: {min: 1}}", "did you mean 'right'?"),
        ("checks: {right: {contains: a}}\nthresholds: {right: {}}", "a threshold has `min`, `mean_score` or both"),
        ("checks: {right: {contains: a}}\nthresholds: {right: {min: 90}}", "must be at most 1"),
    ],
)
def test_what_is_wrong(tmp_path: Path, rest: str, message: str) -> None:
    assert message in told(tmp_path, rest)


def test_output_is_known_to_checks_and_judges_and_to_nobody_else(tmp_path: Path) -> None:
    head = HEAD.replace("prompt: y", "prompt: '{{ output }}'")
    (tmp_path / "c.yaml").write_text(head + "checks: {x: {judge: {agent: j}}, y: {condition: output}}")
    load(tmp_path / "c.yaml", environ={})
    (tmp_path / "c.yaml").write_text(head + "workflow: j")
    with pytest.raises(ConfigError, match="'output' is not known here"):
        load(tmp_path / "c.yaml", environ={})


def test_a_judge_that_judges_itself(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(HEAD.replace("prompt: x", "prompt: x, checks: {me: {judge: {agent: a}}}"))
    with pytest.raises(ConfigError, match="a -> a"):
        load(tmp_path / "c.yaml", environ={})


def test_checks_shape_a_run_and_thresholds_do_not(tmp_path: Path) -> None:
    def shape(rest: str) -> dict[str, str]:
        (tmp_path / "c.yaml").write_text(HEAD + rest)
        return config_shape(load(tmp_path / "c.yaml", environ={}))

    base = shape("workflow: a\nchecks: {x: {contains: a}}")
    assert shape("workflow: a\nchecks: {x: {contains: b}}") != base
    assert shape("workflow: a\nchecks: {x: {contains: a}}\nthresholds: {x: {min: 0.5}}") == base


def test_the_plan_shows_judges_and_counts_their_calls(tmp_path: Path) -> None:
    text = HEAD.replace("prompt: x", "prompt: x, checks: {good: {judge: {agent: j}}}")
    (tmp_path / "c.yaml").write_text(text + "workflow: a\nchecks: {fine: {judge: {agent: j}}, right: {contains: a}}")
    plan = make_plan(load(tmp_path / "c.yaml", environ={}))
    labels = [(node.name, node.label, node.path) for node in plan.root.walk()][1:]
    assert labels == [("a", "", "a"), ("j", "check good", "a.j"), ("j", "check fine", "j")]
    assert (plan.root.calls.least, plan.root.calls.most) == (3, 3)
