"""Template bombs: each is refused before it is built."""

import subprocess
import sys

import pytest

from agentbatch.errors import TemplateFault
from agentbatch.templates import Template
from agentbatch.templates.bounds import FILTER_CHECKS, TEXT_FILTERS, weight
from agentbatch.templates.sandbox import template_environment

DOUBLING = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"
ENDLESS_LIST = "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"


def doubling(start: str, step: str) -> str:
    return DOUBLING.replace("START", start).replace("STEP", step)


BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ [0] * 1000000000 }}",
    "{{ 10 ** 1000000000 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.rjust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '\\t'.expandtabs(1000000000) }}",
    "{{ 'a'.translate({97: 'b' * 1000000}) }}",
    "{{ 'a'.encode() }}",
    "{{ (5).to_bytes(1000000000, 'big') }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ '{:>{w}}'.format(1, w=1000000000) }}",
    "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "{{ {'a': 1} | tojson(indent=1000000000) }}",
    "{{ range(1000000000) | list }}",
    "{{ 'x' * 9000000 | int }}" + "{{ ('a' * 9000000) | list }}",
    "{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}",
    "{% set x %}{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}{% endset %}",
    "{% filter upper %}{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}{% endfilter %}",
    "{% set x %}{% for i in range(99999) %}{% for j in range(99999) %}hello{% endfor %}{% endfor %}{% endset %}",
    "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    doubling("'a'", "ns.x ~ ns.x"),
    doubling("'a'", "ns.x + ns.x"),
    doubling("[1]", "ns.x + ns.x"),
    doubling("9", "ns.x * ns.x"),
    doubling("'aa'", "ns.x | replace('a', 'aaa')"),
    doubling("'aa'", "ns.x.replace('a', 'aaa')"),
    doubling("'aa'", "ns.x.join(['a', 'b', 'c'])"),
    doubling("'aa'", "[1, 2, 3] | join(ns.x)"),
    doubling("'aa'", "'%s%s%s' % (ns.x, ns.x, ns.x)"),
    doubling("'aa'", "'{0}{0}{0}'.format(ns.x)"),
    ENDLESS_LIST + "{{ ns.x }}",
    ENDLESS_LIST + "{{ ns.x ~ '' }}",
    ENDLESS_LIST + "{{ '%s' % [ns.x] }}",
    ENDLESS_LIST + "{{ '{}'.format(ns.x) }}",
    ENDLESS_LIST + "{{ [ns.x] | join }}",
    ENDLESS_LIST + "{{ ns.x | tojson }}",
    ENDLESS_LIST + "{{ ns.x | string }}",
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_is_a_fault(source: str) -> None:
    with pytest.raises(TemplateFault):
        Template(source, where="agents.a.prompt").render({})


@pytest.mark.parametrize("name", sorted(TEXT_FILTERS))
def test_no_filter_makes_a_text_of_an_endless_list(name: str) -> None:
    subject = "{'a': ns.x}" if name == "xmlattr" else "ns.x"
    arguments = "('a', 'b')" if name == "replace" else ""
    with pytest.raises(TemplateFault, match="longer than"):
        Template(f"{ENDLESS_LIST}{{{{ {subject} | {name}{arguments} }}}}").render({})


@pytest.mark.parametrize(
    "use",
    [
        "[1] | batch(1000000000, 'x') | list",
        "'a' | center(1000000000)",
        "'%1000000000d' | format(1)",
        "'a' | indent(1000000000, true)",
        "('a' * 10000) | replace('a', 'b' * 10000)",
        "[1] | slice(1000000000) | list",
        "([[0] * 1000] * 1000) | sum(start=[])",
        "('a ' * 10000) | wordwrap(1, wrapstring='b' * 10000)",
    ],
)
def test_every_filter_that_can_multiply_is_checked(use: str) -> None:
    assert any(f"| {name}(" in use for name in FILTER_CHECKS)
    with pytest.raises(TemplateFault):
        Template(f"{{{{ {use} }}}}").render({})


def test_the_table_names_arguments_that_the_filters_have() -> None:
    assert set(FILTER_CHECKS) <= set(template_environment().filters)
    ordinary = (
        "{{ 'a\nb' | indent(2) | replace('a', 'c') | center(9) }}{{ [1, 2, 3] | batch(2) | list }}{{ [1, 2] | sum }}"
    )
    assert Template(ordinary).render({}) == "  c\n  b  [[1,2],[3]]3"


@pytest.mark.parametrize(("value", "size"), [("abc", 3), ([], 8), (["ab", {"c": 1}], 43), (2**300, 108)])
def test_weight(value: object, size: int) -> None:
    assert weight(value) == size


@pytest.mark.slow
def test_bombs_leave_memory_alone() -> None:
    code = (
        "import re, sys; sys.path.insert(0, 'tests/templates')\n"
        "from test_template_bounds import BOMBS\n"
        "from agentbatch.errors import TemplateFault\n"
        "from agentbatch.templates import Template\n"
        "for source in BOMBS:\n"
        "    try: Template(source).render({})\n"
        "    except TemplateFault: pass\n"
        "    else: sys.exit('rendered: ' + source)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200_000
