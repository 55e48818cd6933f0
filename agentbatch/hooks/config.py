"""The section `hooks` of a config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from agentbatch.errors import ConfigError
from agentbatch.settings import Settings
from agentbatch.transports.function import load_function

EVENTS: Final = ("before_model", "after_model", "before_tool", "after_tool", "on_result")


class HooksConfig(Settings):
    """Python functions that look at what is sent and what comes, and may change or refuse it: `module:name`, or a list
    of them, called in that order. The module is installed, or stands beside the config."""

    before_model: list[str] | str = Field(default_factory=list[str])
    """Given each request before it is sent, and before it is looked for in the cache: a `ModelCall`."""
    after_model: list[str] | str = Field(default_factory=list[str])
    """Given each answer, a cached one too: a `ModelAnswer`."""
    before_tool: list[str] | str = Field(default_factory=list[str])
    """Given each tool call before it is made: a `ToolUse`."""
    after_tool: list[str] | str = Field(default_factory=list[str])
    """Given each result of a tool before the model is told: a `ToolResult`."""
    on_result: list[str] | str = Field(default_factory=list[str])
    """Given each item's end before its line is written: an `ItemEnd`."""
    on_error: Literal["fail", "ignore"] = "fail"
    """What a hook that raises does to its item: fail it, or nothing but a warning. A refusal is no error."""

    def names(self, event: str) -> list[str]:
        """The functions of one event."""
        named: list[str] | str = getattr(self, event)
        return [named] if isinstance(named, str) else named

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why a function can't be called."""
        for event in EVENTS:
            for name in self.names(event):
                try:
                    load_function(name, folder)
                except ConfigError as error:
                    yield event, str(error)
