"""Options as environment variables: `--max-cost` can also be given as AGENTBATCH_MAX_COST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperOption


class CommandWithVariables(TyperCommand):
    """A command of which every option has a variable, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, TyperOption):
                parameter.envvar = variable_of(parameter.opts)


def variable_of(spellings: Sequence[str]) -> str:
    """The variable of an option: `["-o", "--output"]` gives AGENTBATCH_OUTPUT."""
    long = next(each for each in spellings if each.startswith("--"))
    return "AGENTBATCH_" + long[2:].replace("-", "_").upper()
