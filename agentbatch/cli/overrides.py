"""Options of a command that stand for keys of the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from agentbatch.cli.variables import variable_of
from agentbatch.config.source import Override
from agentbatch.errors import UsageError

if TYPE_CHECKING:
    from agentbatch.config import Config


def said_overrides(context: typer.Context, keys: Mapping[str, str]) -> Iterator[Override]:
    """The options that were given, as overrides that know what the user typed.

    `keys` leads from an option's parameter (`max_cost`) to its key in the config (`limits.max_cost`).
    """
    for name, key in keys.items():
        value = context.params[name]
        if value is not None:
            yield Override(f"{key}={value}", f"{_typed(context, name)}{value}")


def refuse_idle_options(context: typer.Context, config: Config) -> None:
    """See that what was typed for Ray goes there. What only the environment says may be meant for other commands.

    Raises:
        UsageError: it would do nothing.
    """
    if config.engine.kind == "ray":
        return
    for name in ("address", "workers"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            said = f"{_typed(context, name)}{context.params[name]}"
            raise UsageError(f"{said}: is for --engine ray, and this run stays in one process; add --engine ray")


def _typed(context: typer.Context, name: str) -> str:
    spelling = f"--{name.replace('_', '-')}"
    source = context.get_parameter_source(name)
    if source is not None and source.name == "ENVIRONMENT":
        return f"{variable_of([spelling])}="
    return f"{spelling} "
