"""What jobs of `agentbatch submit` and `fetch` call on the cluster's head. Nobody types it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(hidden=True, help="What submitted jobs call on the head.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    name: Annotated[str, typer.Argument()],
    keep: Annotated[float, typer.Argument(help="Seconds.")],
    results: Annotated[str, typer.Argument()],
    words: Annotated[list[str], typer.Argument(help="Config, inputs, and options of `run`.")],
) -> None:
    """Run in the folder of this name."""
    from agentbatch.jobs.head import run_at_head  # late: `agentbatch --help` needs none of this

    run_at_head(name, keep, results, words)


@app.command()
def send(
    name: Annotated[str, typer.Argument()],
    parts: Annotated[list[str], typer.Argument(help="ROLE=SIZE:DIGEST of what is there.")],
) -> None:
    """Print what is new of a run's files."""
    from agentbatch.jobs.head import send_home  # late: `agentbatch --help` needs none of this
    from agentbatch.jobs.transfer import parts_of

    for line in send_home(name, parts_of(parts)):
        typer.echo(line)
