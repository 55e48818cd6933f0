"""What a template reads, and which of it may be missing."""

import pytest

from agentbatch.templates import Condition, Template


def dotted(paths: frozenset[tuple[str, ...]]) -> set[str]:
    return {".".join(path) for path in paths}


@pytest.mark.parametrize(
    ("source", "every", "required"),
    [
        ("nothing", "", ""),
        (
            "{{ input.lang }} {{ critic.output.issues }}",
            "input.lang critic.output.issues",
            "input.lang critic.output.issues",
        ),
        ("{{ input['lang'].x }}", "input.lang.x", "input.lang.x"),
        ("{{ input.xs[0].y }}", "input.xs", "input.xs"),
        ("{{ input[item.id] }}", "input item.id", "input item.id"),
        ("{{ input.name.upper() }}", "input.name", "input.name"),
        ("{{ input.x | default(input.y) }}", "input.x input.y", "input.y"),
        ("{{ input.x | d('') | upper }}", "input.x", ""),
        ("{{ input.x is defined }}", "input.x", ""),
        ("{% if input.x %}{{ input.x.y }}{% endif %}", "input.x input.x.y", ""),
        ("{% if input.x is defined and input.y %}{{ input.x }}{% endif %}", "input.x input.y", ""),
        ("{% if not input.x %}{{ input.z }}{% endif %}", "input.x input.z", "input.z"),
        ("{% if input.x == 1 %}a{% endif %}", "input.x", "input.x"),
        ("{{ input.x or 'none' }}", "input.x", ""),
        ("{{ input.x if input.x else input.y }}", "input.x input.y", "input.y"),
        ("{{ input.x }}{% if input.x %}{% endif %}", "input.x", "input.x"),
        (
            "{% for row in input.rows %}{{ row.a }}{{ loop.index }}{{ other }}{% endfor %}",
            "input.rows other",
            "input.rows other",
        ),
        ("{% for k, v in input.items() %}{{ k }}{{ v.x }}{% endfor %}", "input", "input"),
        ("{% set w = writer.output %}{{ w.score }}", "writer.output", "writer.output"),
        ("{{ w.score }}{% set w = writer.output %}", "writer.output w.score", "writer.output w.score"),
        ("{% set ns = namespace(a=1) %}{% set ns.a = input.b %}{{ ns.a }}", "input.b", "input.b"),
        (
            "{% macro m(a, b=input.c) %}{{ a }}{{ b }}{{ input.d }}{% endmacro %}{{ m(1) }}",
            "input.c input.d",
            "input.c input.d",
        ),
        ("{% with a = input.b %}{{ a }}{% endwith %}", "input.b", "input.b"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "", ""),
        ("{% filter upper %}{{ input.x }}{% endfilter %}", "input.x", "input.x"),
        ("{# {{ input.x }} #}{% raw %}{{ input.y }}{% endraw %}", "", ""),
    ],
)
def test_references(source: str, every: str, required: str) -> None:
    template = Template(source)
    assert dotted(template.found.all) == set(every.split())
    assert dotted(template.found.required) == set(required.split())


def test_a_condition_has_references_too() -> None:
    assert dotted(Condition("{{ critic.output.score >= vars.bar }}").found.all) == {"critic.output.score", "vars.bar"}


def test_the_line_is_where_the_path_is_needed() -> None:
    found = Template("{{ input.a | default('') }}\n\n{{ input.b }}\n{{ input.a }}").found
    assert found.lines == {("input", "a"): 4, ("input", "b"): 3}


@pytest.mark.parametrize(
    ("source", "always"),
    [
        ("{{ input.a }}{% if input.b == 1 %}{{ input.c }}{% else %}{{ input.d }}{% endif %}", "input.a input.b"),
        ("{{ input.a if input.b == 1 else input.c }}", "input.b"),
        ("{{ input.a == 1 and input.b }}{{ input.c == 2 or input.d }}", "input.a input.c"),
        ("{% for x in input.a %}{{ input.b }}{% else %}{{ input.c }}{% endfor %}", "input.a"),
        ("{% macro m() %}{{ input.a }}{% endmacro %}{{ input.b }}", "input.b"),
        ("{{ input.a | default('') }}{{ input.b | upper }}", "input.b"),
        ("{% if input.a == 1 %}{{ input.b }}{% endif %}{{ input.b }}", "input.a input.b"),
    ],
)
def test_what_every_rendering_reads(source: str, always: str) -> None:
    assert dotted(Template(source).found.always) == set(always.split())
