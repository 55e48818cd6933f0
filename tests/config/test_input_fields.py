"""Fields that templates need, and inputs that lack them."""

from pathlib import Path
from typing import Any

import pytest

from agentbatch.config import Config, load
from agentbatch.config.input_check import check_fields
from agentbatch.config.input_fields import InputNeeds, missing_fields
from agentbatch.items import Item

TEXT = """\
version: 1
models: {m: {provider: mock}}
agents:
  a:
    model: m
    instructions: "{{ input.tone | default('kind') }}"
    prompt: |
      One
      {{ input.product }} {{ input.deep.er }}
  b: {model: m, prompt: "{{ input.law }}", when: "input.market == 'EU'"}
  c: {model: m, prompt: "{{ input.unused }}"}
workflow: [a, b]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TEXT)
    return load("config.yaml", (), {})


def items(*records: Any) -> list[Item]:
    return [Item(str(index + 1), index, record, index + 1) for index, record in enumerate(records)]


def test_needs_are_what_every_item_comes_to_without_a_guard(config: Config) -> None:
    assert set(InputNeeds.of(config).fields) == {("product",), ("deep", "er")}


@pytest.mark.parametrize(
    ("more", "needed"),
    [
        ("groups: {g: {parallel: [c, a], success: any}}\nworkflow: g", set[str]()),
        ("groups: {g: {parallel: [c]}}\nworkflow: g", {"unused"}),
        ("groups: {g: {when: 'input.x', then: c}}\nworkflow: g", set[str]()),
        ("groups: {g: {route: 'input.x', cases: {y: c}}}\nworkflow: g", set[str]()),
        ("groups: {g: {loop: [c], max_iterations: 2}}\nworkflow: g", {"unused"}),
        ("workflow: [{sequence: [c], when: 'input.x'}]", set[str]()),
        ("workflow: [{sequence: [c]}]", {"unused"}),
        ("groups: {g: {sequence: [a], fallback: [c]}}\nworkflow: g", {"product", "deep.er"}),
    ],
)
def test_a_step_that_not_every_item_comes_to_needs_nothing(tmp_path: Path, more: str, needed: set[str]) -> None:
    (tmp_path / "config.yaml").write_text(TEXT.replace("workflow: [a, b]", more))
    config = load(tmp_path / "config.yaml", (), {})
    assert {".".join(path) for path in InputNeeds.of(config).fields} == needed


def test_a_record_that_lacks_a_field(config: Config) -> None:
    needs = InputNeeds.of(config)
    assert needs.lacking({"product": 1, "deep": {"er": None}}) is None
    assert needs.lacking({"prodct": 1, "deep": {"er": 1}}) == (
        "no field 'product', which agents.a.prompt needs, did you mean 'prodct'?"
    )
    assert needs.lacking({"product": 1, "deep": "text"}) == "no field 'deep.er', which agents.a.prompt needs"
    assert needs.lacking("text") == "no field 'deep.er', which agents.a.prompt needs"


def test_a_field_that_no_input_has(config: Config) -> None:
    found = missing_fields(config, items({"prodct": 1, "deep": {"er": 1}}, {"prodct": 2, "deep": {}}))
    assert [str(problem) for problem in found] == [
        "config.yaml:9:10: agents.a.prompt: no input has the field 'product'\n"
        "    9 |       {{ input.product }} {{ input.deep.er }}\n"
        "      |          ^^^^^^^^^^^^^\n"
        "  did you mean 'prodct'?"
    ]
    assert missing_fields(config, []) == []
    assert missing_fields(config, items({}, {"product": 1, "deep": {"er": 1}})) == []


def test_inputs_that_are_texts(config: Config) -> None:
    found = missing_fields(config, items("a", "b"))
    assert [problem.hint for problem in found] == ["the inputs are texts, not objects"] * 2


def check(text: str) -> tuple[int, list[str]]:
    Path("in.jsonl").write_text(text)
    found = check_fields(load("config.yaml", (), {}), "in.jsonl")
    return found.items, list(found.problems)


GOOD = '{"product": 1, "deep": {"er": 1}}\n'


def test_all_inputs_are_read_and_every_bad_one_named(config: Config) -> None:
    assert check(GOOD * 3) == (3, [])
    count, problems = check(GOOD + '{"product": 1}\n' + "no json\n" + GOOD)
    assert count == 2
    assert problems[0] == "in.jsonl:2: no field 'deep.er', which agents.a.prompt needs"
    assert problems[1].startswith("in.jsonl:3: ")


def test_a_field_that_is_nowhere_is_told_once(config: Config) -> None:
    count, problems = check('{"prodct": 1, "deep": {"er": 1}}\n' * 50 + "no json\n")
    assert count == 0
    assert problems[0].startswith("config.yaml:9:10: agents.a.prompt: no input has the field 'product'")
    assert [problem for problem in problems[1:] if "in.jsonl:51" in problem]
    assert len(problems) == 3
    assert problems[2] == "... 51 lines can't be used, the first of them are above"


def test_of_many_bad_lines_the_first_are_shown(config: Config) -> None:
    count, problems = check(GOOD + '{"product": 1}\n' * 100)
    assert count == 1
    assert len(problems) == 21
    assert problems[-1] == "... 100 lines can't be used, the first of them are above"


def test_a_field_that_only_some_renderings_read_is_not_demanded_of_every_record(tmp_path: Path) -> None:
    prompt = "{% if input.kind == 'a' %}{{ input.detail }}{% endif %}{{ input.kind == 'a' and input.more }}"
    (tmp_path / "config.yaml").write_text(
        f'version: 1\nmodels: {{m: {{provider: mock}}}}\nagents: {{a: {{model: m, prompt: "{prompt}"}}}}\n'
    )
    config = load(tmp_path / "config.yaml", (), {})
    assert InputNeeds.of(config).lacking({"kind": "b"}) is None
    assert InputNeeds.of(config).lacking({"detail": "b"}) == "no field 'kind', which agents.a.prompt needs"
    # a typo all the same, where no input has it
    found = missing_fields(config, items({"kind": "a"}))
    assert [problem.message.rpartition(" ")[2] for problem in found] == ["'detail'", "'more'"]


@pytest.mark.parametrize(
    ("step", "fields", "said"),
    [
        ("for_each: input.pages", {"pages": "one, two"}, "input.pages is a text, and agents.a.for_each needs a list"),
        ("for_each: input.pages", {"pages": {}}, "input.pages is an object, and agents.a.for_each needs a list"),
        ("for_each: '{{ input.pages }}'", {"pages": None}, "input.pages is null, and agents.a.for_each needs a list"),
        ("for_each: input", "one, two", "input is a text, and agents.a.for_each needs a list"),
        (
            "for_each: input.pages",
            {"pags": []},
            "no field 'pages', which agents.a.for_each needs, did you mean 'pags'?",
        ),
        ("for_each: input.pages", {"pages": []}, None),
        ("for_each: input.pages.split()", {"pages": "one, two"}, None),
        ("for_each: input.pages, when: input.go", {"pages": "one, two", "go": False}, None),
    ],
)
def test_what_for_each_takes_for_a_list_must_be_one(tmp_path: Path, step: str, fields: Any, said: str | None) -> None:
    agents = f"agents: {{a: {{model: m, prompt: '{{{{ each.value }}}}', {step}}}}}"
    (tmp_path / "config.yaml").write_text(f"version: 1\nmodels: {{m: {{provider: mock}}}}\n{agents}\n")
    assert InputNeeds.of(load(tmp_path / "config.yaml", (), {})).lacking(fields) == said
