"""Tools in a config: names, circles, what belongs to whom, and what only tools see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import config_of, run

from agentbatch.config import config_shape
from agentbatch.errors import ConfigError

BOSS = {"prompt": "go", "tools": ["worker"]}
WORKER = {"prompt": "{{ args.prompt }}"}
ECHO_TOOL = {"command": ["echo", "{{ args.x }}"], "parameters": {"x": "string"}}


def calling(name: str, **arguments: Any) -> dict[str, Any]:
    told = "{{ messages[-1].content }}"
    return {"provider": "mock", "tool_calls": [{"name": name, "arguments": arguments}], "reply": told}


def test_an_agent_with_tools_is_of_the_kind_react(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"boss": BOSS, "worker": WORKER, "plain": {}})
    assert [getattr(agent, "kind", "") for agent in config.agents.values()] == ["react", "chat", "chat"]


@pytest.mark.parametrize(
    ("agents", "sections", "words"),
    [
        ({"boss": {"tools": ["wroker"]}, "worker": WORKER}, {}, "unknown tool 'wroker'.*did you mean 'worker'"),
        ({"boss": {"tools": []}}, {}, "must not be empty"),
        ({"boss": {"tools": ["boss"]}}, {}, "can't be its own tool: boss -> boss"),
        ({"a": {"tools": ["b"]}, "b": {"tools": ["a"]}}, {}, "can't be its own tool: a -> b -> a"),
        ({"a": {"tools": ["t"]}}, {"tools": {"t": {"agent": "a"}}}, "can't be its own tool: a -> a"),
        ({"a": {"tools": ["s"]}}, {"tools": {"t": {"agent": "a"}}, "toolsets": {"s": ["t"]}}, "can't be its own tool"),
        ({"a": {"tools": ["g"]}}, {"groups": {"g": {"sequence": ["a"]}}}, "can't be its own tool: g -> a -> g"),
        ({"a": {"tools": ["a2"]}, "a2": {}}, {"tools": {"a2": ECHO_TOOL}}, "'a2' is among the agents, too"),
        ({"a": {"tools": ["s"]}}, {"toolsets": {"s": ["none"]}}, "unknown tool 'none'"),
        ({"a": {"tools": ["t"]}}, {"tools": {"t": {"agent": "none"}}}, "unknown agent or group 'none'"),
        ({"a": {"prompt": "{{ args.x }}"}}, {}, "only tools, and agents that are another one's tools, know `args`"),
        ({"args": {}}, {}, "the name 'args' is taken"),
        ({"a": {}}, {"tools": {"t": {**ECHO_TOOL, "command": ["{{ a.outptu }}"]}}}, "did you mean 'output'"),
        ({"a": {}}, {"tools": {"t": {}}}, "a tool has one of the keys function, command"),
        ({"a": {}}, {"tools": {"t": "echo"}}, "expected a mapping that describes the tool"),
        ({"a": {}}, {"tools": {"t": {**ECHO_TOOL, "timeout": "soon"}}}, "expected a duration"),
        ({"a": {"kind": "chat", "tools": ["t"]}}, {"tools": {"t": ECHO_TOOL}}, "unknown key 'tools'"),
    ],
)
def test_what_can_not_be_is_found_when_the_config_is_loaded(
    tmp_path: Path, agents: dict[str, Any], sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        config_of(tmp_path, agents, **sections)


def test_an_agent_that_is_a_tool_is_no_step_of_its_own(tmp_path: Path) -> None:
    model = calling("worker", prompt="hello")
    config = config_of(tmp_path, {"boss": {**BOSS, "model": "boss"}, "worker": WORKER}, models={"boss": model})
    trial = run(config)
    assert trial.statuses == {"boss": "ok", "worker": "ok"}
    assert trial.output == "hello"


def test_a_graph_waits_for_what_its_agents_tools_read(tmp_path: Path) -> None:
    agents = {"boss": {"model": "boss", "prompt": "go", "tools": ["all"]}, "first": {"prompt": "first"}}
    tools = {"say": {"command": ["echo", "{{ first.output }}"]}}
    config = config_of(tmp_path, agents, models={"boss": calling("say")}, tools=tools, toolsets={"all": ["say"]})
    assert [list(config.agents), config.toolsets] == [["boss", "first"], {"all": ["say"]}]
    from agentbatch.config.step_graph import dependencies

    assert dependencies(config, ["boss", "first"]) == (frozenset({1}), frozenset())


def test_a_field_that_only_a_tool_reads_is_not_demanded_of_every_item(tmp_path: Path) -> None:
    tools = {"say": {"command": ["echo", "{{ input.rare }}"]}}
    config = config_of(tmp_path, {"a": {"prompt": "{{ input.q }}", "tools": ["say"]}}, tools=tools)
    certain = {path for use in config.templates if use.certain for path in use.found.required}
    assert ("input", "q") in certain
    assert ("input", "rare") not in certain


def test_what_shapes_a_tools_result_shapes_the_run_and_what_does_not_does_not(tmp_path: Path) -> None:
    def shape(**tool: Any) -> dict[str, str]:
        agents = {"a": {"prompt": "go", "tools": ["t"]}}
        return config_shape(config_of(tmp_path, agents, tools={"t": {**ECHO_TOOL, **tool}}))

    assert shape(timeout="5s", max_concurrency=3, retries=2, description="x") == shape()
    assert shape(ok_codes=[0, 1]) != shape()
    assert shape(command=["printf", "{{ args.x }}"]) != shape()


def test_a_value_of_the_environment_is_no_template(tmp_path: Path) -> None:
    tool = {"command": ["env"], "env": ["BRACES"]}
    with pytest.raises(ConfigError, match="BRACES"):
        config_of(tmp_path, {"a": {"tools": ["t"]}}, tools={"t": tool})
