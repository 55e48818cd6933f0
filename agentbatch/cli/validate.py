"""`agentbatch validate`: every problem of a config, and of its inputs, before anything is paid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentbatch.errors import InputError

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.inputs.formats import InputFormat


def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config.", show_default=False)],
    inputs: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUTS]", help="A .jsonl, .jsonl.gz or .csv file, or - for stdin.", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            envvar="AGENTBATCH_SET",
            help="KEY=VALUE: override a config key by its dotted path. In the variable: one a line.",
        ),
    ] = None,
    input_format: Annotated[
        Literal["auto", "jsonl", "csv", "openai-batch"],
        typer.Option(envvar="AGENTBATCH_INPUT_FORMAT", help="Of the inputs, as `run` has it."),
    ] = "auto",
) -> None:
    """Check a config, and inputs if given. Nothing is sent anywhere."""
    from agentbatch.config import load  # late: `agentbatch --help` needs none of this
    from agentbatch.text.figures import counted

    requests = input_format == "openai-batch"
    loaded = load(config, settings or [], os.environ, only_check=True, requests=requests)
    for note in loaded.notes:
        typer.echo(f"note: {note}", err=True)
    parts = [counted(len(loaded.models), "model"), counted(len(loaded.agents), "agent")]
    if loaded.groups:
        parts.append(counted(len(loaded.groups), "group"))
    if inputs is not None:
        parts.append(counted(_check_inputs(loaded, inputs, input_format), "input"))
    typer.echo("ok: " + ", ".join(parts))


def _check_inputs(config: Config, name: str, input_format: InputFormat) -> int:
    """How many inputs there are.

    Raises:
        InputError: some can't be used; the message names them by file and line.
    """
    from agentbatch.config.input_check import check_fields  # late: reads files, and most calls are for a config alone

    found = check_fields(config, name, input_format)
    if found.note is not None:
        typer.echo(f"note: {found.note}", err=True)
    if found.problems:
        raise InputError("\n".join(found.problems))
    return found.items
