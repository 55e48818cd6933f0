"""Options of a command that stand for keys of the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import typer

from agentbatch.cli.variables import variable_of
from agentbatch.config.source import Override


def said_overrides(context: typer.Context, keys: Mapping[str, str]) -> Iterator[Override]:
    """The options that were given, as overrides that know what the user typed.

    `keys` leads from an option's parameter (`max_cost`) to its key in the config (`limits.max_cost`).
    """
    for name, key in keys.items():
        value = context.params[name]
        if value is not None:
            yield Override(f"{key}={value}", f"{_typed(context, name)}{value}")


def _typed(context: typer.Context, name: str) -> str:
    spelling = f"--{name.replace('_', '-')}"
    source = context.get_parameter_source(name)
    if source is not None and source.name == "ENVIRONMENT":
        return f"{variable_of([spelling])}="
    return f"{spelling} "
