"""What an agent is told of earlier conversations: the turns of other agents, or its own of the last round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentbatch.items import Result
from agentbatch.messages import Message

Turns = tuple[Message, ...]


def earlier_turns(steps: Iterable[str], names: Mapping[str, Any]) -> Turns:
    """The conversations of these steps, one after the other, without their system messages.

    Of two of which one begins with the other, as when both agents continued the same one, the longer is enough. Tool
    calls and their results are left out: another agent need not have the tools, and providers refuse turns about tools
    that the request does not bring. A step that has not run contributes nothing.
    """
    turns: Turns = ()
    for step in steps:
        result = names.get(step)
        if isinstance(result, Result):
            turns = _joined(turns, tuple(_plain(result.messages)))
    return turns


def _plain(messages: Iterable[Message]) -> Iterable[Message]:
    for message in messages:
        said = (message.content or message.parts) and not message.tool_calls
        if message.role in ("user", "assistant") and said:
            yield Message(message.role, message.content, parts=message.parts)


def _joined(turns: Turns, more: Turns) -> Turns:
    if more[: len(turns)] == turns:
        return more
    return turns if turns[: len(more)] == more else turns + more
