"""Which changes of a config make other answers, and how they are named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agentbatch.config import config_shape, load

TEXT = """\
version: 1
models:
  m: {provider: openai, model: x, base_url: http://127.0.0.1:1, api_key: "${KEY}", params: {temperature: 1}}
  n: {provider: mock, latency: 10ms}
vars: {tone: kind}
agents:
  a: {model: m, prompt: file://p.j2}
  b: {model: n, prompt: hello, output_schema: {type: object}}
groups:
  g: {parallel: [a, {agent: b, copies: 2}, {sequence: [a, b]}]}
workflow: [g]
limits: {max_cost: 1}
"""

Shape = Callable[..., dict[str, str]]


@pytest.fixture
def shape(tmp_path: Path) -> Shape:
    def of(*overrides: str, prompt: str = "Hi {{ input.x }}", old: str = "", new: str = "") -> dict[str, str]:
        assert old in TEXT
        (tmp_path / "p.j2").write_text(prompt)
        (tmp_path / "config.yaml").write_text(TEXT.replace(old, new) if old else TEXT)
        return config_shape(load(tmp_path / "config.yaml", overrides, {"KEY": "sk-some-key-00000"}))

    return of


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {part for part in before.keys() | after.keys() if before.get(part) != after.get(part)}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("models.m.model=y", {"models.m.model"}),
        ("models.m.base_url=http://127.0.0.1:2", {"models.m.base_url"}),
        ("models.m.params.temperature=0", {"models.m.params"}),
        ("models.n.seed=2", {"models.n.seed"}),
        ("models.n.reply=no", {"models.n.reply"}),
        ("vars.tone=rude", {"vars.tone"}),
        ("agents.a.model=n", {"agents.a.model"}),
        ("agents.a.instructions=x", {"agents.a.instructions"}),
        ("agents.a.when=input.x", {"agents.a.when"}),
        ("agents.b.output_schema.required=[x]", {"agents.b.output_schema"}),
        ("groups.g.success=any", {"groups.g.success"}),
        ("groups.g.parallel.1.copies=3", {"groups.g.parallel"}),
        ("groups.g.parallel.2.sequence=[b, a]", {"groups.g.parallel"}),
        ("workflow=a", {"workflow"}),
    ],
)
def test_a_change_that_shapes_answers_is_named(shape: Shape, override: str, parts: set[str]) -> None:
    assert changed(shape(), shape(override)) == parts


def test_a_changed_prompt_file_is_named(shape: Shape) -> None:
    assert changed(shape(), shape(prompt="Hello {{ input.x }}")) == {"agents.a.prompt"}


@pytest.mark.parametrize(
    "override",
    [
        "limits.max_cost=9",
        "limits.max_concurrency=3",
        "models.m.rpm=5",
        "models.m.tpm=5",
        "models.m.max_concurrency=5",
        "models.m.timeout=5s",
        "models.m.retries=1",
        "models.m.price={input: 1, output: 1}",
        "models.m.fallbacks=[n]",
        "models.m.transport=httpx",
        "models.n.latency=20ms",
        "agents.a.max_concurrency=2",
        "agents.a.timeout=3s",
        "agents.a.description=x",
        "defaults.timeout=3s",
        "output.include=[usage]",
        "trace.content=true",
    ],
)
def test_how_a_run_goes_is_no_part_of_its_shape(shape: Shape, override: str) -> None:
    assert shape(override) == shape()


def test_another_key_and_another_layout_are_no_change(shape: Shape) -> None:
    assert shape(old='"${KEY}"', new='"${KEY:-other}"') == shape()
    assert shape(old="vars: {tone: kind}\n", new="vars:\n  # a comment\n  tone: 'kind'\n") == shape()


def test_a_default_written_out_is_no_change(shape: Shape) -> None:
    assert shape("models.n.seed=0", "groups.g.success=all", "agents.a.kind=chat") == shape()
