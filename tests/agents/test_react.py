"""The agent with tools: turns, calls at once and in order, bounds, and everything a model can get wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_time import run_in_fake_time
from scripted import Reply, ScriptedModel, SpanList, endpoint_of, in_turn, visit_of
from tools.handmade import HandmadeTool, offer_of
from workflow import config_of, run

from agentbatch.agents.asking import Asker
from agentbatch.agents.react import Bounds, ReactAgent
from agentbatch.answer_schema import AnswerSchema
from agentbatch.endpoints.answering import Answering
from agentbatch.errors import MaxTurns, RunStopped, SchemaFault, ServerFault, ToolFault
from agentbatch.items import Scope
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, Usage
from agentbatch.templates import Template
from agentbatch.tools.offer import Offer
from agentbatch.tools.toolbox import OneTool, Toolbox


def calling(*calls: tuple[str, Any], text: str = "", **more: Any) -> ChatResponse:
    """A turn with tool calls: names and arguments."""
    made = tuple(
        ToolCall(f"c{n}", name, given if isinstance(given, str) else json.dumps(given))
        for n, (name, given) in enumerate(calls)
    )
    return ChatResponse(text, made, "tool_calls", Usage(10, 5, 1), **more)


def agent_of(model: ScriptedModel, *offers: Offer, schema: dict[str, Any] | None = None, **more: Any) -> ReactAgent:
    checked = None if schema is None else AnswerSchema(schema)
    asker = Asker(Answering((endpoint_of(model),), None, None), Limiter("agent"), Template("go"), schema=checked)
    return ReactAgent(asker, Toolbox([OneTool(offer) for offer in offers]), **more)


def told(request: ChatRequest) -> list[str]:
    """What the tools said, in the request that hands it back."""
    return [message.content for message in request.messages if message.role == "tool"]


def play(replies: Sequence[Reply], *offers: Offer, then: Reply = "done", **more: Any) -> tuple[ScriptedModel, Any]:
    """The model, and the agent's output after these replies."""
    model = ScriptedModel(in_turn(replies, then))

    async def main() -> Any:
        return (await agent_of(model, *offers, **more).run(Scope({}), visit_of())).value

    return model, run_in_fake_time(main())


def test_results_stand_in_the_order_of_the_calls_however_long_each_takes() -> None:
    tool = HandmadeTool(parameters={"q": "string", "seconds": "number"})
    model, output = play(
        [calling(*(("look", {"q": str(n), "seconds": 5 - n}) for n in range(5)))], offer_of(tool), then="done"
    )
    assert output == "done"
    assert tool.peak == 5
    messages = model.asked[1].messages
    assert [message.tool_call_id for message in messages if message.role == "tool"] == ["c0", "c1", "c2", "c3", "c4"]
    assert told(model.asked[1]) == ["0", "1", "2", "3", "4"]


def test_calls_of_one_turn_take_as_long_as_the_slowest() -> None:
    async def main() -> float:
        tool = HandmadeTool(parameters={"seconds": "number"})
        model = ScriptedModel(in_turn([calling(*(("look", {"seconds": n}) for n in range(1, 6)))]), latency=0)
        await agent_of(model, offer_of(tool)).run(Scope({}), visit_of())
        return asyncio.get_running_loop().time()

    assert run_in_fake_time(main()) == pytest.approx(1005.0)


def test_without_parallel_calls_one_runs_after_the_other_and_the_provider_is_told() -> None:
    tool = HandmadeTool(seconds=1)
    model, _ = play([calling(*[("look", {})] * 4)], offer_of(tool), parallel=False)
    assert tool.peak == 1
    assert len(tool.calls) == 4
    assert [request.parallel_tool_calls for request in model.asked] == [False, False]


def test_the_provider_is_not_told_where_the_config_says_nothing() -> None:
    model, _ = play([calling(("look", {}))], offer_of(HandmadeTool()))
    assert model.asked[0].parallel_tool_calls is None
    assert model.asked[0].tool_choice is None
    assert [tool.name for tool in model.asked[0].tools] == ["look"]


WRONG = {
    "no JSON": ("look", "{'q': 1", "no valid JSON"),
    "a list": ("look", "[1, 2]", "must be a JSON object, not an array"),
    "a text": ("look", '"q"', "must be a JSON object, not a string"),
    "of another type": ("look", {"q": 3}, "$.q: 3 is not of type 'string'"),
    "undeclared": ("look", {"path": "/etc/passwd"}, "the arguments are q"),
    "an unknown tool": ("lok", {}, "there is no tool 'lok', did you mean 'look'?"),
    "a hostile name": ("\x1b[2J" + "x" * 500, {}, r"there is no tool '\\x1b[2J"),
    "bottomless": ("look", "[" * 100_000, "no valid JSON"),
    "a flood": ("look", '{"q": "' + "x" * 2_000_000 + '"}', "longer than 1,000,000 characters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_model_is_told_what_is_wrong_with_its_call_and_goes_on(case: str) -> None:
    name, given, words = WRONG[case]
    tool = HandmadeTool()
    model, output = play([calling((name, given), ("look", {"q": "right"}))], offer_of(tool))
    wrong, right = told(model.asked[1])
    assert wrong.startswith("Error: ")
    assert words in wrong
    assert len(wrong) < 1000
    assert right == "right"
    assert tool.calls == [{"q": "right"}]
    assert output == "done"


@pytest.mark.parametrize("given", ["", " ", "null", "{}"])
def test_no_arguments_are_no_arguments_however_they_are_written(given: str) -> None:
    model, _ = play([calling(("look", given))], offer_of(HandmadeTool()))
    assert told(model.asked[1]) == ["seen"]


def test_sixty_four_calls_in_one_turn_are_all_answered() -> None:
    tool = HandmadeTool(seconds=1)
    model, _ = play([calling(*(("look", {"q": str(n)}) for n in range(64)))], offer_of(tool, at_once=10))
    assert told(model.asked[1]) == [str(n) for n in range(64)]
    assert tool.peak == 10


def test_beyond_so_many_calls_in_one_turn_none_is_made() -> None:
    tool = HandmadeTool()
    model, _ = play([calling(*[("look", {})] * 500)], offer_of(tool))
    assert len(tool.calls) == 128
    results = told(model.asked[1])
    assert len(results) == 500
    assert set(results[128:]) == {"Error: not called: the limit of tool calls is reached"}


def test_the_last_turn_is_asked_for_an_answer() -> None:
    tool = HandmadeTool()
    replies = lambda request, _: "at last" if request.tool_choice == "none" else calling(("look", {}))  # noqa: E731
    model = ScriptedModel(replies)

    async def main() -> Any:
        visit = visit_of()
        output = await agent_of(model, offer_of(tool), bounds=Bounds(max_turns=4)).run(Scope({}), visit)
        return output.value, visit.extra

    assert run_in_fake_time(main()) == ("at last", {"turns": 4, "tool_calls": 3, "forced_answer": True})
    assert [request.tool_choice for request in model.asked] == [None, None, None, "none"]
    assert model.asked[3].tools == model.asked[0].tools  # a provider wants the tools that the conversation names


@pytest.mark.parametrize("answers", [True, False])
def test_a_loop_without_end_ends_after_max_turns(answers: bool) -> None:
    tool = HandmadeTool()
    model = ScriptedModel(in_turn([], calling(("look", {}))))
    agent = agent_of(model, offer_of(tool), bounds=Bounds(max_turns=5, answers=answers))
    with pytest.raises(MaxTurns, match=r"max_turns \(5\)"):
        run_in_fake_time(agent.run(Scope({}), visit_of()))
    assert len(model.asked) == 5
    assert len(tool.calls) == 4


def test_words_beside_calls_nobody_makes_any_more_are_the_answer() -> None:
    model, output = play(
        [calling(("look", {}), text="I would look again")] * 3, offer_of(HandmadeTool()), bounds=Bounds(2)
    )
    assert output == "I would look again"
    assert len(model.asked) == 2


def test_so_many_calls_and_no_more() -> None:
    tool = HandmadeTool()
    model, output = play([calling(*[("look", {})] * 2)] * 2, offer_of(tool), bounds=Bounds(10, max_calls=3))
    assert len(tool.calls) == 3
    assert told(model.asked[2])[3] == "Error: not called: the limit of tool calls is reached"
    assert [request.tool_choice for request in model.asked] == [None, None, "none"]
    assert output == "done"


def test_running_out_of_calls_can_be_an_error() -> None:
    model = ScriptedModel(in_turn([], calling(("look", {}))))
    agent = agent_of(model, offer_of(HandmadeTool()), bounds=Bounds(10, max_calls=2, answers=False))
    with pytest.raises(MaxTurns, match=r"max_tool_calls \(2\)"):
        run_in_fake_time(agent.run(Scope({}), visit_of()))
    assert len(model.asked) == 3


def test_a_forced_choice_is_for_the_first_turn_only() -> None:
    model, _ = play([calling(("look", {}))], offer_of(HandmadeTool()), tool_choice="required")
    assert [request.tool_choice for request in model.asked] == ["required", None]


SCORE = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number"}}}


def test_the_final_answer_is_checked_and_repaired_with_the_tools_in_sight() -> None:
    model, output = play(
        [calling(("look", {})), "no JSON", '{"score": 3}'], offer_of(HandmadeTool()), schema=SCORE, then="never"
    )
    assert output == {"score": 3}
    assert [request.output_schema for request in model.asked] == [SCORE] * 3
    assert model.asked[2].tool_choice == "none"
    assert model.asked[2].tools
    assert "no valid JSON" in model.asked[2].messages[-1].content


def test_an_answer_that_fits_neither_time_is_a_failure() -> None:
    with pytest.raises(SchemaFault):
        play([calling(("look", {})), "no JSON", "{}"], offer_of(HandmadeTool()), schema=SCORE)


def test_what_the_provider_wants_back_goes_back() -> None:
    thinking = ({"type": "thinking", "signature": "s"},)
    model, _ = play([calling(("look", {}), provider_data=thinking)], offer_of(HandmadeTool()))
    assert model.asked[1].messages[1] == Message("assistant", "", calling(("look", {})).tool_calls, None, thinking)


def broken(_: object) -> Any:
    raise ToolFault("the shelf is empty")


def test_a_failing_tool_and_a_slow_one_are_told_and_the_agent_goes_on() -> None:
    spans = SpanList()
    model = ScriptedModel(in_turn([calling(("bad", {}), ("slow", {}), ("look", {}))]))
    slow = HandmadeTool("slow", seconds=100)
    offers = [offer_of(HandmadeTool("bad", broken)), offer_of(slow, timeout=2.0), offer_of(HandmadeTool())]

    async def main() -> Any:
        visit = visit_of(0, spans)
        return await agent_of(model, *offers).run(Scope({}), visit), visit

    output, visit = run_in_fake_time(main())
    assert output.value == "ok"
    assert told(model.asked[1]) == [
        "Error: the shelf is empty",
        "Error: slow worked for longer than its timeout of 2 s",
        "seen",
    ]
    assert slow.cut == 1
    tools = {span.name: span for span in spans.ended if span.kind == "tool"}
    assert {name: (span.status, span.error_type) for name, span in tools.items()} == {
        "bad": ("error", "tool"),
        "slow": ("timeout", "timeout"),
        "look": ("ok", None),
    }
    assert {span.parent_id for span in tools.values()} == {visit.span.span_id}
    assert tools["look"].attributes["call_id"] == "c2"
    assert (visit.input_tokens, visit.requests) == (20, 2)
    assert not visit.at_work


def test_only_the_model_layer_retries_a_request() -> None:
    tool = HandmadeTool()
    model, output = play([ServerFault("500"), calling(("look", {})), ServerFault("500")], offer_of(tool))
    assert output == "done"
    assert len(model.asked) == 4
    assert len(tool.calls) == 1


def stopped(_: object) -> Any:
    raise RunStopped("the run ends")


def test_a_stopped_run_ends_all_calls_at_once() -> None:
    slow = HandmadeTool("slow", seconds=1000)
    model = ScriptedModel(in_turn([calling(("slow", {}), ("stop", {}), ("slow", {}))]))

    async def main() -> float:
        with pytest.raises(RunStopped, match="the run ends"):
            await agent_of(model, offer_of(slow), offer_of(HandmadeTool("stop", stopped))).run(Scope({}), visit_of())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return asyncio.get_running_loop().time()

    assert run_in_fake_time(main()) < 1010
    assert (slow.cut, slow.running) == (2, 0)


def test_a_cancelled_agent_leaves_no_call_behind() -> None:
    slow = HandmadeTool("slow", seconds=1000)
    spans = SpanList()
    model = ScriptedModel(in_turn([calling(("slow", {}), ("slow", {}))]))

    async def main() -> None:
        task = asyncio.ensure_future(agent_of(model, offer_of(slow)).run(Scope({}), visit_of(0, spans)))
        await asyncio.sleep(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_in_fake_time(main())
    assert (slow.cut, slow.running) == (2, 0)
    assert [span.status for span in spans.ended if span.kind == "tool"] == ["cancelled", "cancelled"]


def test_a_tools_bug_is_loud() -> None:
    def bug(_: object) -> Any:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        play([calling(("look", {}), ("look", {}))], offer_of(HandmadeTool(does=bug)))


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolFault, match="two tools have the name 'look'"):
        play([], offer_of(HandmadeTool()), offer_of(HandmadeTool()))


# whole configs

WORKER = {"prompt": "{{ args.prompt }}", "model": "echo"}


def supervising(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"provider": "mock", "tool_calls": list(calls), "reply": "{{ messages[-1].content }}", **more}


def test_workers_are_children_of_their_supervisor_and_their_costs_are_its(tmp_path: Path) -> None:
    model = supervising(
        {"name": "worker", "arguments": {"prompt": "one"}}, {"name": "worker", "arguments": {"prompt": "two"}}
    )
    agents = {"boss": {"model": "boss", "prompt": "go", "tools": ["worker"]}, "worker": WORKER}
    trial = run(config_of(tmp_path, agents, models={"boss": model}, workflow="boss"))
    assert trial.output == "two"
    assert list(trial.agents) == ["boss", "worker", "worker#2"]
    assert trial.agents["boss"]["usage"]["requests"] == trial.line["usage"]["requests"] == 4
    assert trial.seconds == pytest.approx(1.0)
    by_id = {span.span_id: span for span in trial.spans.ended}
    workers = [span for span in by_id.values() if span.name == "worker" and span.kind == "agent"]
    assert {by_id[span.parent_id or ""].kind for span in workers} == {"tool"}


def test_a_failing_worker_is_told_and_the_supervisor_answers(tmp_path: Path) -> None:
    model = supervising({"name": "worker", "arguments": {"prompt": "one"}})
    agents = {"boss": {"model": "boss", "prompt": "go", "tools": ["worker"]}, "worker": {**WORKER, "model": "broken"}}
    trial = run(config_of(tmp_path, agents, models={"boss": model}, workflow="boss"))
    assert trial.line["status"] == "ok"
    assert trial.output.startswith("Error: worker failed: ")
    assert trial.agents["worker"]["error"]["type"] == "content_filter"


def test_a_tools_timeout_counts_its_workers_work_and_not_its_queue(tmp_path: Path) -> None:
    model = supervising(*[{"name": "ask", "arguments": {"prompt": "x"}}] * 3)
    agents = {"boss": {"model": "boss", "prompt": "go", "tools": ["ask"]}, "worker": {**WORKER, "max_concurrency": 1}}
    tools = {"ask": {"agent": "worker", "timeout": "2s"}}
    trial = run(config_of(tmp_path, agents, models={"boss": model}, tools=tools, workflow="boss"))
    assert [step["status"] for step in trial.agents.values()] == ["ok"] * 4
    assert trial.seconds == pytest.approx(3.0)


def test_a_hanging_worker_ends_at_the_tools_timeout(tmp_path: Path) -> None:
    model = supervising({"name": "ask", "arguments": {"prompt": "x"}})
    agents = {"boss": {"model": "boss", "prompt": "go", "tools": ["ask"]}, "worker": {**WORKER, "model": "hanging"}}
    tools = {"ask": {"agent": "worker", "timeout": "2s"}}
    trial = run(config_of(tmp_path, agents, models={"boss": model}, tools=tools, workflow="boss"))
    assert trial.output == "Error: ask worked for longer than its timeout of 2 s"
    assert trial.statuses == {"boss": "ok", "worker": "cancelled"}


def test_an_agents_max_turns_ends_its_item_with_that_type(tmp_path: Path) -> None:
    model = supervising({"name": "worker", "arguments": {"prompt": "x"}}, tool_rounds=1000)
    agents = {
        "boss": {"model": "boss", "prompt": "go", "tools": ["worker"], "max_turns": 3, "on_max_turns": "error"},
        "worker": WORKER,
    }
    trial = run(config_of(tmp_path, agents, models={"boss": model}, workflow="boss"))
    assert (trial.line["status"], trial.line["error"]["type"]) == ("error", "max_turns")
    assert trial.agents["boss"]["turns"] == 3
