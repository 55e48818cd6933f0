"""Options as environment variables: `--max-cost` can also be given as AGENTBATCH_MAX_COST."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})


class CommandReadingVariables(TyperCommand):
    """A command whose variables say all that its options can.

    An option that may be given several times has a value in each line of its variable: blanks divide nothing. The other
    name of a switch, as `--resume` of `--overwrite`, has a variable, too. What is typed comes first.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed, after what the variables say."""
        options = [parameter for parameter in self.params if isinstance(parameter, TyperOption) and parameter.envvar]
        said = [word for option in options for word in _said(option, args)]
        return super().parse_args(ctx, [*said, *args])


class CommandWithVariables(CommandReadingVariables):
    """A command of which every option has a variable, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, TyperOption):
                parameter.envvar = variable_of(parameter.opts)


def said_by_variables(command: CommandWithVariables, typed: Sequence[str], but: Container[str]) -> list[str]:
    """All that the variables say and nobody has typed, as words of a command line: for a machine without them.

    Args:
        but: the names of parameters that have no place there.

    Raises:
        BadParameter: the variable of a switch says neither yes nor no.
    """
    words: list[str] = []
    for option in command.params:
        if not isinstance(option, TyperOption) or option.name in but:
            continue
        words += _said(option, typed)
        value = os.environ.get(variable_of(option.opts), "")
        if option.multiple or not value or _is_typed(option, typed):
            continue
        if not option.is_flag:
            words.append(f"{option.opts[-1]}={value}")
        elif _holds(variable_of(option.opts)):
            words.append(option.opts[-1])
    return words


def variable_of(spellings: Sequence[str]) -> str:
    """The variable of an option: `["-o", "--output"]` gives AGENTBATCH_OUTPUT."""
    long = next(each for each in spellings if each.startswith("--"))
    return "AGENTBATCH_" + long[2:].replace("-", "_").upper()


def _said(option: TyperOption, typed: Sequence[str]) -> Iterator[str]:
    """What the variables of an option say, where its own library would not read them so, as words of a command line."""
    if _is_typed(option, typed):
        return
    if option.multiple:
        lines = os.environ.get(variable_of(option.opts), "").splitlines()
        yield from (f"{option.opts[-1]}={line.strip()}" for line in lines if line.strip())
    elif option.secondary_opts and _holds(variable_of(option.secondary_opts)):
        yield option.secondary_opts[-1]


def _is_typed(option: TyperOption, typed: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in (*option.opts, *option.secondary_opts) for word in typed)


def _holds(variable: str) -> bool:
    """Whether a variable says yes.

    Raises:
        BadParameter: it says neither yes nor no.
    """
    value = os.environ.get(variable, "").strip().lower()
    if value and value not in _YES and value not in _NO:
        raise typer.BadParameter(f"{variable}={value}: expected 1 or 0")
    return value in _YES
