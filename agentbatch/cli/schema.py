"""`agentbatch schema`: the JSON Schema that lets an editor complete and check a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentbatch.errors import OutputError


def schema(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write it here instead of to stdout.", show_default=False),
    ] = None,
) -> None:
    """Print the JSON Schema of the config, for editors."""
    from agentbatch.config.schema import json_schema  # late: `agentbatch --help` needs none of this

    text = json.dumps(json_schema(), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{output}: can't be written: {error.strerror}") from None
