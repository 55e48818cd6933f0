"""Templates and conditions: what they render, what they refuse, and what they say when a name is missing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbatch.errors import ConditionFault, TemplateFault
from agentbatch.items import Result
from agentbatch.templates import NOT_RUN, Condition, Template, TemplateProblem, Value

NAMES = {
    "input": {"product": "shoe", "lang": "en", "items": [1, 2], "n": 3, "nothing": None, "deep": {"a": "é"}},
    "item": {"id": "1", "index": 0},
    "writer": Result("ok", output="A shoe.", name="writer"),
    "critic": NOT_RUN,
}


def render(source: str) -> str:
    return Template(source, where="agents.writer.prompt").render(NAMES)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain, no braces { } %", "plain, no braces { } %"),
        ("one newline at the end goes\n", "one newline at the end goes"),
        ("two\r\nkinds of\rline end", "two\nkinds of\nline end"),
        ("{{ input.product }} in {{ input.lang }}", "shoe in en"),
        ("{{ input['product'] }}", "shoe"),
        ("{{ input.items }}", "[1,2]"),
        ("{{ input.deep }}", '{"a":"é"}'),
        ("{{ input.deep | tojson(indent=1) }}", '{\n "a": "é"\n}'),
        ("{{ '<b>' | tojson }}", '"<b>"'),
        ("{{ input.nothing }}", ""),
        ("{{ input.n > 2 }}", "True"),
        ("{{ input.items | map('string') }}", '["1","2"]'),
        ("{{ input.product.upper() }}", "SHOE"),
        ("{{ 'a b' | urlencode }}", "a%20b"),
        ("{% for x in input.items %}{{ loop.index }}{{ x }} {% endfor %}", "11 22 "),
        ("{{ writer.output }} {{ writer.status }}", "A shoe. ok"),
        ("{{ input.missing | default('none') }}", "none"),
        ("{% if input.missing %}yes{% else %}no{% endif %}", "no"),
        ("{{ input.missing is defined }}", "False"),
        ("{{ input.a.b if input.a is defined else 'x' }}", "x"),
        ("{{ '{{ 7 * 7 }}' }}", "{{ 7 * 7 }}"),
        ("{% set x %}a{% endset %}{{ x ~ 'b' ~ 1 }}", "ab1"),
        ("{{ {'a': 10 ** 30} }}", '{"a":1000000000000000000000000000000}'),
    ],
)
def test_renders(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[{{ critic.output }}]", "[]"),
        ("[{{ critic.output.issues | default('first pass') }}]", "[first pass]"),
        ("{% for issue in critic.output.issues %}{{ issue }}{% endfor %}.", "."),
        ("{% if critic.output.score >= 0.8 %}good{% else %}not yet{% endif %}", "not yet"),
        ("[{{ critic.output.text.upper() }}]", "[]"),
        ("{{ critic.output | tojson }}", "null"),
        ("{{ critic.output | length }}", "0"),
        ("{{ 'x' in critic.output }}", "False"),
        ("{{ critic.output == 'x' }}", "False"),
    ],
)
def test_a_step_that_has_not_run_is_empty_however_deep(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ input.lagn }}", "agents.writer.prompt: no field 'lagn', did you mean 'lang'?"),
        ("{{ input.zzz }}", "agents.writer.prompt: no field 'zzz' (there is: product, lang, items, n, nothing, deep)"),
        ("{{ inptu.lang }}", "agents.writer.prompt: unknown name 'inptu', did you mean 'input'?"),
        ("{{ input.nothing.x }}", "agents.writer.prompt: no field 'x' in null"),
        (
            "{{ writer.output.score }}",
            "no field 'score' in a text (an agent's answer has fields if it has an output_schema)",
        ),
        ("{% if inptu %}x{% endif %}", "agents.writer.prompt: unknown name 'inptu', did you mean 'input'?"),
        ("{% for x in input.zz %}{% endfor %}", "no field 'zz'"),
        ("{{ input.keys }}", "no field 'keys'"),
        ("{{ writer }}", "a Result is no text"),
        ("{{ 1 / 0 }}", "agents.writer.prompt: division by zero"),
        ("{{ critic.output + 1 }}", "a step has not run yet"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{{ '{0.__class__}'.format(1) }}", "unsafe"),
        ("{{ [input.zzz] | tojson }}", "no field 'zzz'"),
    ],
)
def test_says_what_is_missing_and_where(source: str, message: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        render(source)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% for x in y %}", "{{ input.lang }}", "{#", "${HOME}"])
def test_data_is_never_a_template(text: str) -> None:
    names = {"input": {"q": text}, "writer": Result("ok", output={"a": [text]}, name="writer")}
    assert Template("{{ input.q }}").render(names) == text
    assert json.loads(Template("{{ writer.output }}").render(names)) == {"a": [text]}


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("a\nb {{ x", "unexpected end of template", 2),
        ("a\n\n{% if %}", "Expected an expression", 3),
        ("{{ x | defalt }}", "unknown filter 'defalt', did you mean 'default'?", 1),
        ("\n{{ x is defind }}", "unknown test 'defind', did you mean 'defined'?", 2),
        ("\n{% include 'x' %}", "stands alone", 2),
        ("{% extends 'x' %}", "stands alone", 1),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "not a template", 1),
        ("{% for a in b %}" * 30 + "{% endfor %}" * 30, "not a template", 1),
    ],
)
def test_a_template_that_does_not_compile_names_its_line(source: str, message: str, line: int) -> None:
    with pytest.raises(TemplateProblem, match=message.replace("?", r"\?")) as caught:
        Template(source)
    assert caught.value.line == line


def test_a_text_longer_than_the_cap_is_a_fault_of_the_item() -> None:
    template = Template("{{ input.text }}", where="agents.a.prompt", max_size=1000)
    assert len(template.render({"input": {"text": "x" * 1000}})) == 1000
    with pytest.raises(TemplateFault, match=r"agents\.a\.prompt: the text is longer than 1,000 characters"):
        template.render({"input": {"text": "x" * 1001}})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.n == 3", True),
        ("{{ input.n == 4 }}", False),
        ("input.lang in ['en', 'de'] and not input.nothing", True),
        ("critic.output.score >= 0.8", False),
        ("critic.output.score < 0.8", False),
        ("not critic.output", True),
        ("input.missing is defined", False),
        ("writer.status == 'ok'", True),
    ],
)
def test_condition_holds(source: str, value: bool) -> None:
    assert Condition(source).holds(NAMES) is value


def test_a_condition_has_a_value() -> None:
    assert Condition("{{ input.items }}").value(NAMES) == [1, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("input.missing", "groups.g.when: no field 'missing'"),
        ("input.missing == 1", "no field 'missing'"),
        ("not input.missing", "no field 'missing'"),
        ("inptu.n", "unknown name 'inptu', did you mean 'input'?"),
        ("input.n / 0", "division by zero"),
        ("input.n < 'x'", "not supported"),
    ],
)
def test_a_condition_that_raises_fails_closed(source: str, message: str) -> None:
    with pytest.raises(ConditionFault) as caught:
        Condition(source, where="groups.g.when").holds(NAMES)
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["", "{{ }}", "a b", "{{ a }} and {{ b }}", "{% if a %}x{% endif %}", "input.z =="])
def test_what_is_no_bare_expression_is_refused(source: str) -> None:
    with pytest.raises(TemplateProblem):
        Condition(source)


def test_a_value_keeps_its_type_where_it_is_one_expression() -> None:
    assert Value("{{ input.items }}").of(NAMES) == [1, 2]
    assert Value("n={{ input.n }}").of(NAMES) == "n=3"


def test_a_step_may_be_called_like_a_function_of_jinja() -> None:
    assert (
        Template("{{ range.output }} {{ dict.output }}").render({"range": {"output": 1}, "dict": {"output": 2}})
        == "1 2"
    )


jinja = st.lists(
    st.sampled_from(
        """{{ }} {% %} {# #} if else endif for in endfor set endset is not defined default macro endmacro m() ( ) [ ] .
        , | input input.product writer.output critic 'x' 1 + * % ~ = == raw endraw with endwith filter upper endfilter
        loop join length namespace range(3) tojson""".split()  # noqa: SIM905
    ),
    max_size=14,
).map(" ".join)


@settings(max_examples=500)
@given(jinja | st.text(alphabet="{}%#|.()[]'ax1 \n"))
def test_no_template_raises_anything_else(source: str) -> None:
    try:
        Template(source).render(NAMES)
    except (TemplateProblem, TemplateFault) as error:
        assert str(error)


@settings(max_examples=300)
@given(jinja | st.text(alphabet="{}%#|.()[]'ax1 \n"))
def test_no_condition_raises_anything_else(source: str) -> None:
    try:
        Condition(source).holds(NAMES)
    except (TemplateProblem, ConditionFault) as error:
        assert str(error)
