"""Function agents in a config: what their signatures ask for, written out as arguments, so that it counts as read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from agentbatch.errors import ConfigError
from agentbatch.tools.signature import named_parameters
from agentbatch.transports.function import load_function
from agentbatch.transports.function_source import function_like

_ALWAYS: Mapping[str, Any] = {
    "input": "{{ input }}",
    "item": {"id": "{{ item.id }}", "index": "{{ item.index }}"},
}


def with_named_arguments(
    data: dict[str, Any], steps: Collection[str], folder: Path, *, runs_here: bool = True
) -> dict[str, Any]:
    """The section of a function agent with an argument for every parameter whose name says what it is given.

    A section whose function can't be loaded stays as it is: what is wrong is said where the section is checked. One
    that does not run here is read and not imported.
    """
    name, given = data.get("function"), data.get("arguments", {})
    if not isinstance(name, str) or not isinstance(given, dict):
        return data
    try:
        function = load_function(name, folder) if runs_here else function_like(name, folder)
        parameters = {} if function is None else named_parameters(function)
    except (ConfigError, ValueError):
        return data
    known = {**{step: f"{{{{ {step}.output }}}}" for step in steps}, **_ALWAYS}
    implied = {parameter: known[parameter] for parameter in parameters if parameter in known}
    return {**data, "arguments": {**implied, **cast("dict[str, Any]", given)}}
