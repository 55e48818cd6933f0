"""What a hook is given: a record that it returns changed, or not at all. For the functions that users write.

    from dataclasses import replace
    from agentbatch.hooks import ModelCall, Refused

    def no_secrets(call: ModelCall) -> ModelCall | None:
        if "password" in call.messages[-1].content:
            raise Refused("passwords stay here")

A hook is sync (it runs in a thread) or async. It returns None to change nothing, or a changed copy of what it was
given, `replace(call, ...)`. It raises `Refused` to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.errors import Refused
from agentbatch.items import Failure, Item, Status
from agentbatch.messages import Message, ToolCall
from agentbatch.record import record


@record
class ModelCall:
    """`before_model`: a request about to be made, once whatever its retries. `messages` and `params` may be changed.

    `agent` is the agent's path in the item, `model` its model's name in the config. A whole conversation is in every
    request of it, as it was before the hook changed it in an earlier one.
    """

    item: Item
    agent: str
    model: str
    messages: tuple[Message, ...]
    params: Mapping[str, Any]


@record
class ModelAnswer:
    """`after_model`: what a model answered to `messages`. `text` and `tool_calls` may be changed."""

    item: Item
    agent: str
    model: str
    messages: tuple[Message, ...]
    text: str
    tool_calls: tuple[ToolCall, ...]


@record
class ToolUse:
    """`before_tool`: a tool call about to be made, its arguments checked. `arguments` may be changed."""

    item: Item
    agent: str
    tool: str
    arguments: Mapping[str, Any]


@record
class ToolResult:
    """`after_tool`: what came of a tool call. `result`, any JSON value, may be changed before the model is told."""

    item: Item
    agent: str
    tool: str
    arguments: Mapping[str, Any]
    result: Any


@record
class ItemEnd:
    """`on_result`: how an item ended. The `output` of a good one may be changed; of a failed one `error` says why."""

    item: Item
    status: Status
    output: Any
    error: Failure | None


__all__ = ["ItemEnd", "ModelAnswer", "ModelCall", "Refused", "ToolResult", "ToolUse"]
