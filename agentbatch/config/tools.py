"""Tools in a config: their names, and which agents lead to which others by having them as tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from agentbatch.config.meanings import MeantText
from agentbatch.config.problems import Problem
from agentbatch.config.source import Origin
from agentbatch.tools.parameters import parameter_schema

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What providers allow: https://platform.openai.com/docs/api-reference/chat/create"""


def worker_names(name: str, tools: Mapping[str, Any], toolsets: Mapping[str, Any]) -> Iterator[str]:
    """The agents and groups that a name among an agent's tools stands for: itself, where it is no tool's.

    `tools` and `toolsets` are those sections of the config as data.
    """
    if name in toolsets:
        members: Any = toolsets[name]
        for each in cast("list[Any]", members) if isinstance(members, list) else ():
            if isinstance(each, str) and each not in toolsets:
                yield from worker_names(each, tools, toolsets)
    elif name not in tools:
        yield name
    elif isinstance(tools[name], dict):
        agent = cast("dict[str, Any]", tools[name]).get("agent")
        if isinstance(agent, str):
            yield agent


def only_elsewhere(
    agents: Mapping[str, Any], toolsets: Mapping[str, Any], is_far: Callable[[Any], bool]
) -> frozenset[str]:
    """The tools that nobody on this machine has, where some on others do. `is_far`: of an agent's `placement`."""
    here: set[str] = set()
    there: set[str] = set()
    for section in agents.values():
        agent = cast("dict[str, Any]", section) if isinstance(section, dict) else {}
        who = there if is_far(agent.get("placement")) else here
        for name in _listed(agent.get("tools")):
            who.update(_listed(toolsets[name]) if name in toolsets else [name])
    return frozenset(there - here)


def _listed(names: object) -> list[str]:
    return [str(name) for name in cast("list[Any]", names)] if isinstance(names, list) else []


def delegations(
    texts: Iterable[MeantText], steps: Collection[str], tools: Mapping[str, Any], toolsets: Mapping[str, Any]
) -> list[MeantText]:
    """Names of agents as parts of those that have them as tools."""
    return [
        MeantText(text.path, "step", worker)
        for text in texts
        if text.of == "tool" and text.path[0] == "agents"
        for worker in worker_names(text.text, tools, toolsets)
        if worker in steps
    ]


def argument_names(tools: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What a tool is called with, where its section says it: neither a function's signature nor an open schema."""
    found: dict[str, tuple[str, ...]] = {}
    for name, tool in tools.items():
        section = cast("dict[str, Any]", tool) if isinstance(tool, dict) else {}
        parameters = section.get("parameters")
        if "function" in section and parameters is None:
            continue
        try:
            schema = parameter_schema(parameters)
        except (ValueError, AttributeError):  # what is wrong with it is said where the section is checked
            continue
        if schema["additionalProperties"] is False:
            found[name] = tuple(schema["properties"])
    return found


def tool_name_problems(named: Mapping[str, Mapping[str, Any]], origin: Origin) -> Iterator[Problem]:
    """Names of tools that no provider takes, or that stand for two things. `named` are the config's sections."""
    for name in named["tools"]:
        if _NAME.fullmatch(name) is None:
            hint = "providers take letters, digits, _ and -, at most 64 of them"
            yield origin.problem(("tools", name), f"the name {name!r} is none of a tool", key=True, hint=hint)
    for name in named["mcp_servers"]:
        if _SERVER.fullmatch(name) is None:
            hint = "letters, digits, _ and -, at most 40 of them: the names of its tools begin with it"
            yield origin.problem(("mcp_servers", name), f"the name {name!r} is none of a server", key=True, hint=hint)
    for section in ("tools", "toolsets", "mcp_servers"):
        others = [other for other in ("tools", "toolsets", "agents", "groups") if other != section]
        for name in named[section]:
            taken = next((other for other in others if name in named[other]), None)
            if taken is not None:
                message = f"{name!r} is among the {taken}, too"
                yield origin.problem((section, name), message, key=True, hint="rename one of them")
