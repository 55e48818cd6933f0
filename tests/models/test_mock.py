import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from jsonschema import validate
from pydantic import ValidationError

from agentbatch.errors import BadRequest, BadResponse, ConnectionFault, RateLimited, StepError, TemplateFault
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec
from agentbatch.models.base import Price
from agentbatch.models.mock import MockConfig, MockModel
from agentbatch.models.mock_draws import AskCount
from agentbatch.models.mock_faults import FAULT_KINDS
from agentbatch.models.mock_pace import Pace

SEARCH = ToolSpec("search", "finds", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
CLOCK = ToolSpec("clock", "tells the time", {"type": "object"})


def model(**knobs: Any) -> MockModel:
    return MockModel(MockConfig.model_validate({"provider": "mock", **knobs}))


def ask(text: str, **rest: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), **rest)


def at_once(mock: MockModel, request: ChatRequest) -> ChatResponse:
    """Runs `chat` without any event loop: it works only where nothing waits."""
    chat = mock.chat(request)
    with pytest.raises(StopIteration) as end:
        chat.send(None)
    return end.value.value


def test_the_default_answer_quotes_the_beginning_of_the_prompt():
    answer = at_once(model(), ask("Tell me about herons. " * 20))
    assert answer.text == "A mock answer to: " + ("Tell me about herons. " * 20)[:60]
    assert (answer.finish_reason, answer.model) == ("stop", "mock")


def test_zero_latency_never_touches_the_loop():
    assert at_once(model(latency=0), ask("hello")).text
    chat = model(latency="200ms").chat(ask("hello"))
    with pytest.raises(RuntimeError, match="no running event loop"):
        chat.send(None)


def test_the_same_request_has_the_same_answer_in_every_model():
    knobs = {"reply": "{{ n }} {{ ['a', 'b', 'c'] | pick }}"}
    answers = [at_once(model(**knobs), ask("hello")) for _ in range(3)]
    assert len({(answer.text, answer.request_id) for answer in answers}) == 1


@pytest.mark.parametrize(
    "other",
    [
        (model(reply="{{ n }}", seed=1), ask("hello")),
        (model(reply="{{ n }}", model="large"), ask("hello")),
        (model(reply="{{ n }}"), ask("hello", seed="copy 2")),
        (model(reply="{{ n }}"), ask("hello", params={"seed": 7})),
        (model(reply="{{ n }}"), ask("hello!")),
        (model(reply="{{ n }}"), ChatRequest((Message("system", "hello"),))),
    ],
    ids=["config seed", "model", "request seed", "seed param", "content", "role"],
)
def test_everything_that_tells_requests_apart_changes_the_answer(other: tuple[MockModel, ChatRequest]):
    assert at_once(*other).text != at_once(model(reply="{{ n }}"), ask("hello")).text


def test_params_other_than_the_seed_change_nothing():
    first = at_once(model(reply="{{ n }}"), ask("hello", params={"temperature": 1}))
    assert first.text == at_once(model(reply="{{ n }}"), ask("hello")).text


def test_a_reply_template_sees_the_request():
    template = "{{ system }}|{{ prompt }}|{{ model }}|{{ messages | length }}|{{ messages[0].role }}"
    messages = (
        Message("system", "be brief"),
        Message("user", "one"),
        Message("assistant", "x"),
        Message("user", "two"),
    )
    assert at_once(model(reply=template), ChatRequest(messages)).text == "be brief|two|mock|4|system"


def test_a_prompt_is_never_a_template():
    assert at_once(model(reply="{{ prompt }}"), ask("{{ 7 * 7 }}")).text == "{{ 7 * 7 }}"
    assert at_once(model(), ask("{{ 7 * 7 }}")).text == "A mock answer to: {{ 7 * 7 }}"


def test_a_reply_without_jinja_is_given_as_it_stands():
    assert at_once(model(reply="50 % {sure}\n"), ask("x")).text == "50 % {sure}"


@pytest.mark.parametrize("knobs", [{"replies": ["a", "b", "c"]}, {"reply": "{{ ['a', 'b', 'c'] | pick }}"}])
def test_the_content_picks_evenly(knobs: dict[str, Any]):
    mock = model(**knobs)
    counts = Counter(at_once(mock, ask(f"question {i}")).text for i in range(600))
    assert set(counts) == {"a", "b", "c"}
    assert min(counts.values()) > 140


def test_one_template_picks_differently_from_different_lists():
    mock = model(reply="{{ ['a', 'b'] | pick }}{{ ['x', 'y'] | pick }}")
    assert {at_once(mock, ask(str(i))).text for i in range(100)} == {"ax", "ay", "bx", "by"}


def test_tokens_are_a_quarter_of_the_bytes():
    answer = at_once(model(reply="1234567"), ChatRequest((Message("system", "abc"), Message("user", "ä" * 4))))
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.requests) == (3, 2, 1)


def test_tokens_can_be_given():
    usage = at_once(model(input_tokens=1000, output_tokens=0), ask("hello")).usage
    assert (usage.input_tokens, usage.output_tokens) == (1000, 0)


def test_it_costs_nothing_unless_a_price_is_given():
    assert MockConfig(provider="mock").price == Price(input=0, output=0)
    priced = MockConfig.model_validate({"provider": "mock", "price": {"input": 1, "output": 2}})
    assert priced.price == Price(input=1, output=2)


def test_a_schema_gets_a_value_that_fits():
    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "issues": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "required": ["score", "issues"],
        "additionalProperties": False,
    }
    values = [json.loads(at_once(model(), ask(str(i), output_schema=schema)).text) for i in range(50)]
    for value in values:
        validate(value, schema)
    assert len({value["score"] for value in values}) > 10


def test_a_schema_that_nothing_fits_is_a_bad_request():
    endless = {"$ref": "#/$defs/node", "$defs": {"node": {"required": ["next"], "properties": {"next": {"$ref": "#"}}}}}
    with pytest.raises(BadRequest, match="endless nesting"):
        model().chat(ask("x", output_schema=endless)).send(None)


def test_output_is_what_requests_with_a_schema_get():
    mock = model(output={"score": 0.9, "about": "{{ prompt }}", "tags": ["{{ 'x' * 2 }}", 1, None]})
    answer = at_once(mock, ask('say "hi"', output_schema={"type": "object"}))
    assert json.loads(answer.text) == {"score": 0.9, "about": 'say "hi"', "tags": ["xx", 1, None]}
    assert at_once(mock, ask("x")).text == "A mock answer to: x"


def test_output_as_a_text_may_be_wrong_on_purpose():
    assert at_once(model(output="{not json"), ask("x", output_schema={})).text == "{not json"


def test_scripted_tools_are_called_once_then_comes_the_answer():
    mock = model(tool_calls=[{"name": "search", "arguments": {"q": "{{ prompt }}"}}], reply="done")
    first = at_once(mock, ask("herons", tools=(SEARCH, CLOCK)))
    assert [(call.name, json.loads(call.arguments)) for call in first.tool_calls] == [("search", {"q": "herons"})]
    assert (first.finish_reason, first.text) == ("tool_calls", "")
    told = (
        Message("user", "herons"),
        first.as_message(),
        Message("tool", "found", tool_call_id=first.tool_calls[0].id),
    )
    second = at_once(mock, ChatRequest(told, tools=(SEARCH, CLOCK)))
    assert (second.tool_calls, second.text, second.finish_reason) == ((), "done", "stop")


def test_tools_are_called_only_where_they_are_offered_or_forced():
    calls = [{"name": "clock"}, {"name": "nosuch", "arguments": "{broken", "force": True}]
    mock = model(tool_calls=calls)
    assert at_once(mock, ask("x")).tool_calls == ()
    answer = at_once(mock, ask("x", tools=(SEARCH,)))
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("nosuch", "{broken")]


def test_tool_rounds_keep_the_mock_calling():
    mock = model(tool_calls=[{"name": "clock"}], tool_rounds=3)
    messages: tuple[Message, ...] = (Message("user", "go on"),)
    rounds = 0
    while (answer := at_once(mock, ChatRequest(messages, tools=(CLOCK,)))).tool_calls:
        messages += (answer.as_message(), Message("tool", "noon", tool_call_id=answer.tool_calls[0].id))
        rounds += 1
    assert rounds == 3


def test_tool_choice_and_parallel_tool_calls_are_obeyed():
    mock = model(tool_calls=[{"name": "clock"}, {"name": "search"}])
    tools = (SEARCH, CLOCK)
    both = at_once(mock, ask("x", tools=tools)).tool_calls
    assert [call.name for call in both] == ["clock", "search"]
    assert len({call.id for call in both}) == 2
    assert [c.name for c in at_once(mock, ask("x", tools=tools, parallel_tool_calls=False)).tool_calls] == ["clock"]
    assert [c.name for c in at_once(mock, ask("x", tools=tools, tool_choice="search")).tool_calls] == ["search"]
    assert at_once(mock, ask("x", tools=tools, tool_choice="none")).tool_calls == ()


def test_a_demanded_tool_without_a_script_gets_arguments_that_fit():
    (call,) = at_once(model(), ask("x", tools=(CLOCK, SEARCH), tool_choice="search")).tool_calls
    assert call.name == "search"
    validate(json.loads(call.arguments), dict(SEARCH.parameters))
    assert len(at_once(model(), ask("x", tools=(CLOCK,), tool_choice="required")).tool_calls) == 1


def test_arguments_count_as_content():
    def after(arguments: str) -> ChatRequest:
        return ChatRequest((Message("user", "x"), Message("assistant", "", (ToolCall("1", "f", arguments),))))

    mock = model(reply="{{ n }}")
    assert at_once(mock, after("1")).text != at_once(mock, after("2")).text


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_of_error_has_its_own_class(kind: str):
    mock = model(errors={kind: 1, "retry_after": "2s"})
    with pytest.raises(StepError) as raised:
        mock.chat(ask("x")).send(None)
    assert raised.value.type == kind
    assert raised.value.request_id
    assert raised.value.retry_after == (2.0 if kind in ("rate_limited", "overloaded") else None)


def outcomes(mock: MockModel, text: str, times: int) -> list[str]:
    found: list[str] = []
    for _ in range(times):
        try:
            found.append(at_once_or_raise(mock, ask(text)))
        except StepError as error:
            found.append(error.type)
    return found


def at_once_or_raise(mock: MockModel, request: ChatRequest) -> str:
    try:
        mock.chat(request).send(None)
    except StopIteration:
        return "ok"
    raise AssertionError("chat waited for something")


def test_a_retry_can_succeed_and_a_rerun_goes_the_same_way():
    knobs = {"errors": {"rate_limited": 0.3, "server": 0.3}}
    runs = [[outcomes(mock, f"q{i}", 8) for i in range(40)] for mock in (model(**knobs), model(**knobs))]
    assert runs[0] == runs[1]
    assert sum(row[0] != "ok" and "ok" in row for row in runs[0]) > 10


def test_the_order_of_other_requests_does_not_matter():
    knobs = {"errors": {"server": 0.5}}
    forward, backward = model(**knobs), model(**knobs)
    one = {i: outcomes(forward, f"q{i}", 2) for i in range(50)}
    two = {i: outcomes(backward, f"q{i}", 2) for i in reversed(range(50))}
    assert one == two


def test_rates_are_kept():
    mock = model(errors={"rate_limited": 0.05, "server": 0.02})
    counts = Counter(outcomes(mock, f"q{i}", 1)[0] for i in range(5000))
    assert 190 < counts["rate_limited"] < 320
    assert 60 < counts["server"] < 150
    assert counts["rate_limited"] + counts["server"] + counts["ok"] == 5000


def test_alike_requests_do_not_all_share_one_fate():
    found = outcomes(model(errors={"server": 0.5}), "the same", 200)
    assert 60 < found.count("server") < 140


@pytest.mark.parametrize(("knob", "error"), [("disconnect", ConnectionFault), ("truncate", BadResponse)])
def test_mishaps_on_the_way_are_the_errors_that_a_client_would_raise(knob: str, error: type[StepError]):
    assert outcomes(model(**{knob: 1}), "the same", 3) == [error.type] * 3
    some = outcomes(model(**{knob: 0.3}), "the same", 200)
    assert 30 < some.count(error.type) < 90
    assert outcomes(model(**{knob: 0.3}), "the same", 200) == some


async def test_a_request_that_hangs_ends_with_the_attempt():
    asked = asyncio.create_task(model(hang=1).chat(ask("x")))
    done, _ = await asyncio.wait({asked}, timeout=0.05)
    assert not done
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_fault_comes_after_the_latency_and_the_loop_keeps_the_time():
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(RateLimited):
        await model(latency="50ms", errors={"rate_limited": 1}).chat(ask("x"))
    assert loop.time() - began >= 0.049


def seconds(latency: Any, count: int = 4000) -> list[float]:
    pace = Pace(MockConfig.model_validate({"provider": "mock", "latency": latency}))
    return sorted(pace.next(i.to_bytes(16, "big")).seconds for i in range(count))


def test_log_normal_latency_has_the_percentiles_asked_for():
    drawn = seconds({"p50": "200ms", "p95": "1s"})
    assert 0.18 < drawn[2000] < 0.22
    assert 0.9 < drawn[3800] < 1.1


def test_uniform_latency_stays_between_its_bounds():
    drawn = seconds({"min": "100ms", "max": "300ms"})
    assert 0.1 <= drawn[0] < 0.105
    assert 0.295 < drawn[-1] < 0.3


def test_normal_latency_is_never_negative():
    drawn = seconds({"mean": "100ms", "sigma": "100ms"})
    assert drawn[0] == 0.0
    assert 0.09 < drawn[2000] < 0.11


def test_a_drawn_latency_repeats_itself_but_not_on_a_retry():
    latency = {"min": 0, "max": 1}
    assert seconds(latency, 5) == seconds(latency, 5)
    pace = Pace(MockConfig.model_validate({"provider": "mock", "latency": latency}))
    assert pace.next(b"x").seconds != pace.next(b"x").seconds


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"latency": "5 parsecs"}, "500ms, 30s"),
        ({"latency": -1}, "zero or more"),
        ({"latency": {"p50": "1s"}}, "Field required"),
        ({"latency": {"p50": "1s", "p95": "200ms"}}, "p95 must not be less than p50"),
        ({"latency": {"min": 2, "max": 1}}, "max must not be less than min"),
        ({"latency": {"median": "1s"}}, "expected a duration, or one of"),
        ({"errors": {"server": 0.8, "auth": 0.4}}, "add up to 1.2"),
        ({"errors": {"server": 1.2}}, "less than or equal to 1"),
        ({"errors": {"typo": 0.1}}, "Extra inputs"),
        ({"reply": "a", "replies": ["b"]}, "exclude each other"),
        ({"replies": []}, "at least 1"),
        ({"reply": "{{ prompt"}, r"reply\n.*unexpected end of template"),
        ({"replies": ["ok", "{{ prompt | nofilter }}"]}, r"replies.1\n.*No filter named 'nofilter'"),
        ({"output": {"a": ["{{ promt }}"]}}, r"unknown name 'promt', did you mean 'prompt'\?"),
        ({"tool_calls": [{"name": "f", "arguments": {"a": "{% if %}"}}]}, r"tool_calls.0.arguments\n"),
    ],
)
def test_wrong_knobs_are_config_errors(knobs: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        MockConfig.model_validate({"provider": "mock", **knobs})


def test_a_template_that_fails_for_one_request_is_that_requests_fault():
    with pytest.raises(TemplateFault, match="nothing"):
        model(reply="{{ messages[0].nothing.at_all }}").chat(ask("x")).send(None)


def test_the_count_of_requests_is_bounded():
    count = AskCount()
    assert [count.next(b"first") for _ in range(3)] == [0, 1, 2]
    for i in range(100_000):
        count.next(i.to_bytes(4, "big"))
    assert count.next(b"first") == 3
    for i in range(300_000):
        count.next(i.to_bytes(5, "big"))
    assert count.next(b"first") == 0
