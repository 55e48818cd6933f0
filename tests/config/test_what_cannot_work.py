# ruff: noqa: E501  # expected messages stand as a user reads them
"""Configs whose every key is right and that can't work all the same, and keys that stand in the wrong place."""

from pathlib import Path

import pytest

from agentbatch.config import load
from agentbatch.config.source import Override
from agentbatch.errors import ConfigError

MODELS = "version: 1\nmodels: {fast: {provider: mock}}\n"
KINDS = "output_schema: {type: object, properties: {kind: {type: string}, at: {type: object, properties: {x: {}}}}}"


def told(tmp_path: Path, text: str, *overrides: str | Override) -> str:
    """What is said about a config, without its place and the line; empty where it is fine."""
    path = tmp_path / "c.yaml"
    path.write_text(MODELS + text)
    try:
        load(path, overrides, {})
    except ConfigError as error:
        lines = str(error).replace(f"{path}:", "").splitlines()
        return "\n".join(line.strip() for line in lines if "|" not in line)
    return ""


def agents(prompt: str, more: str = "", classify: str = KINDS) -> str:
    return f"""\
agents:
  classify: {{model: fast, prompt: hi, {classify}}}
  writer: {{model: fast, prompt: "{prompt}"{more}}}
workflow: [classify, writer]
"""


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ classify.output.kinds }}", "no property 'kinds' in the output_schema of classify\ndid you mean 'kind'?"),
        ("{{ classify.output['kinds'] }}", "no property 'kinds' in the output_schema of classify"),
        ("{{ classify.output.at.y }}", "no property 'y' in the output_schema of classify\nits properties: x"),
        ("{{ classify.output.kind }} {{ classify.output.at.x.deep }}", ""),
        ("{{ classify.output.extra | default('') }}", ""),
        ("{{ classify.output.items() }}", ""),
    ],
)
def test_a_field_that_the_output_schema_does_not_have(tmp_path: Path, prompt: str, message: str) -> None:
    found = told(tmp_path, agents(prompt))
    assert message in found if message else not found


@pytest.mark.parametrize(
    "classify",
    [
        KINDS.replace("{type: object, ", "{type: object, additionalProperties: true, ", 1),
        KINDS.replace("{type: object, ", "{type: object, anyOf: [{required: [kind]}], ", 1),
        KINDS + ", fallback: [writer]",
        KINDS + ", on_error: {default: {kinds: 1}}",
        "output_schema: {type: array}",
    ],
)
def test_a_field_that_may_come_all_the_same(tmp_path: Path, classify: str) -> None:
    text = agents("{{ 1 }}", ', set: {x: "{{ classify.output.kinds }}"}', classify)
    assert told(tmp_path, text.replace("workflow: [classify, writer]", "workflow: [classify]")) == ""


def test_a_closed_schema_never_gives_another_field_whatever_the_guard(tmp_path: Path) -> None:
    closed = KINDS.replace("{type: object, ", "{type: object, additionalProperties: false, ", 1)
    found = told(tmp_path, agents("{{ classify.output.kinds | default('') }}", classify=closed))
    assert "no property 'kinds' in the output_schema of classify" in found


@pytest.mark.parametrize(
    ("classify", "note"),
    [
        ("max_concurrency: 1", "classify.output is a text: it has no field 'kind': give classify an output_schema"),
        (KINDS + ", for_each: 'input.parts'", "classify.output is a list, as classify runs for_each element"),
        (KINDS, None),
    ],
)
def test_a_text_and_a_list_have_no_fields(tmp_path: Path, classify: str, note: str | None) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(MODELS + agents("{{ classify.output.kind }}", classify=classify))
    notes = load(path, (), {}).notes
    assert [note in each for each in notes] == [True] if note else not notes


def test_an_agent_that_reads_what_only_a_tool_is_given_can_not_start_a_workflow(tmp_path: Path) -> None:
    text = """\
agents:
  search: {model: fast, prompt: "{{ args.text }}", description: d}
  boss: {model: fast, prompt: hi, tools: [search]}
workflow: %s
"""
    assert told(tmp_path, text % "boss") == ""
    found = told(tmp_path, text % "[search, boss]")
    assert "agents.search.prompt: 'search' also runs where there is no 'args'" in found
    guarded = text.replace("{{ args.text }}", "{{ args.text if args is defined else 'all' }}")
    assert told(tmp_path, guarded % "[search, boss]") == ""
    alone = told(tmp_path, (text % "x").replace("workflow: x\n", "").replace(", tools: [search]", ""))
    assert "'args' is not known here" in alone


@pytest.mark.parametrize(
    ("prompt", "groups", "name"),
    [
        ("{{ members | length }}", "g: {parallel: [a], aggregate: {agent: b}}", "members"),
        ("{{ loop.index }}", "g: {loop: [b], max_iterations: 2}", "loop"),
        ("{{ each.value }}", "g: {sequence: [b], for_each: input.parts}", "each"),
    ],
)
def test_a_name_that_is_there_in_one_place_of_the_workflow_and_not_in_another(
    tmp_path: Path, prompt: str, groups: str, name: str
) -> None:
    text = f'agents: {{a: {{model: fast, prompt: hi}}, b: {{model: fast, prompt: "{prompt}"}}}}\ngroups: {{{groups}}}\n'
    assert told(tmp_path, text + "workflow: g") == ""
    assert f"'b' also runs where there is no '{name}'" in told(tmp_path, text + "workflow: [g, b]")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ each.item }}", "no field 'item' in each\neach.value is the element"),
        ("{{ each.values }}", "no field 'values' in each\ndid you mean 'value'?"),
        ("{{ each.value.anything }} {{ each.index }}", ""),
    ],
)
def test_what_each_holds(tmp_path: Path, prompt: str, message: str) -> None:
    found = told(tmp_path, f'agents: {{a: {{model: fast, for_each: input.parts, prompt: "{prompt}"}}}}')
    assert message in found if message else not found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents: {a: {kind: chat, model: fast, prompt: hi, tools: [a]}}", "'tools' is a key of kind react"),
        ("agents: {a: {model: fast, prompt: hi, max_turns: 3}}", "'max_turns' is a key of kind react"),
        ("agents: {a: {model: fast, prompt: hi, fallbacks: [fast]}}", "'fallbacks' is a key of models, did you mean 'fallback'?"),
        ("agents: {a: {model: fast, prompt: hi, temperature: 1}}", "it is sent to the model as it is: params: {temperature: ...}"),
        ("agents: {a: {model: fast, prompt: hi}}\nmax_cost: 3", "'max_cost' is a key of `limits`"),
        ("agents: {a: {model: fast, prompt: hi}}\ngroups: {g: {parallel: [a], until: x}}", "'until' is a key of groups of kind loop"),
        ("agents: {a: {model: fast, prompt: hi}}\ngroups: {g: {parallel: [a], aggregate: voted}}", "did you mean 'vote'?"),
        ("agents: {a: {model: fast, prompt: hi, fallback: {to: fast}}}", "'fast' is a model, and a fallback an agent; other models to ask are a model's `fallbacks`"),
        ("agents: {a: {model: fast, prompt: hi, needs: b}, b: {model: fast, prompt: hi}}", "expected a list, got 'b'\nwrite [b]"),
    ],
)  # fmt: skip
def test_a_key_or_a_word_in_the_wrong_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in told(tmp_path, text)


def test_a_misspelt_key_is_one_problem_in_a_section_within_a_section_too(tmp_path: Path) -> None:
    text = "agents: {a: {model: fast, prompt: hi}}\ngroups: {g: {parallel: [a], aggregate: {agents: a}}}"
    found = told(tmp_path, text)
    assert "unknown key 'agents'\ndid you mean 'agent'?" in found
    assert "missing key" not in found


def test_an_override_is_called_what_the_user_typed(tmp_path: Path) -> None:
    text = "agents: {a: {model: fast, prompt: hi}}"
    assert told(tmp_path, text, Override("limits.max_cost=much", "--max-cost much")) == (
        "--max-cost much: limits.max_cost: expected a number, got 'much'"
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("vars: {k: 1}", 'vars.k: expected text, got 1\nwrite "{{ 1 }}", or "1" for a text'),
        ("vars: {k: true}", 'vars.k: expected text, got true\nwrite "{{ true }}", or "true" for a text'),
        ("vars: {k: [1]}", "vars.k: expected text, got a list"),
    ],
)
def test_a_variable_of_the_wrong_type_is_one_problem(tmp_path: Path, section: str, message: str) -> None:
    reads = "agents: {writer: {model: fast, prompt: '{{ vars.k }}'}}\n"
    assert told(tmp_path, reads + section).partition(": ")[2] == message
    sets = "agents: {first: {model: fast, prompt: p, set: {k: 2}}, writer: {model: fast, prompt: '{{ vars.k }}'}}"
    assert "no field" not in told(tmp_path, sets)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("parallel[0].output", "an agent's or a group's answer goes by its name, as NAME.output; there are: writer"),
        ("row.product", "the fields of the input line are input.NAME; there are: writer"),
        ("env.HOME", "a variable of the environment is ${NAME}; there are: writer"),
        ("inputs.product", "did you mean 'input'?"),
    ],
)
def test_a_name_from_elsewhere_is_met_with_ours(tmp_path: Path, name: str, hint: str) -> None:
    assert hint in told(tmp_path, f"agents: {{writer: {{model: fast, prompt: '{{{{ {name} }}}}'}}}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {max_failures: 0.05}", "a share is written with a percent sign: 5%"),
        ("limits: {max_cost: '$5'}", "limits.max_cost: expected a number, got '$5'\nwrite 5"),
        ("tools: {t: {command: Say {{ args.x }}}}", "put quotes around a text with {{ }} in it"),
    ],
)
def test_what_is_written_otherwise_elsewhere(tmp_path: Path, text: str, message: str) -> None:
    assert message in told(tmp_path, "agents: {a: {model: fast, prompt: p}}\n" + text)


@pytest.mark.parametrize(
    ("prompt", "noted"),
    [
        ("Describe {product}", True),
        ("{product} in {{ input.lang }}", True),
        ('Answer {"a": 1} or {}', False),
        ("{{ input.product }} {% if input.x %}y{% endif %} {# note #}", False),
        (r"\\frac{a}{b} x{i}", False),
    ],
)
def test_plain_braces_in_a_prompt_are_noted(tmp_path: Path, prompt: str, noted: bool) -> None:
    (tmp_path / "c.yaml").write_text(f"{MODELS}agents:\n  a:\n    model: fast\n    prompt: |\n      {prompt}\n")
    notes = load(tmp_path / "c.yaml", environ={}).notes
    said = "agents.a.prompt: {product} is sent as it stands; a field of the input is {{ input.product }}"
    assert [note.partition(": ")[2] for note in notes] == ([said] if noted else [])
