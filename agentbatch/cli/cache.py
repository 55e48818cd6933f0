"""`agentbatch cache`: look at the response cache, and empty it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentbatch.text.figures import counted

app = typer.Typer(help="Look at the response cache, and empty it.", no_args_is_help=True, rich_markup_mode=None)

_CONFIG = typer.Argument(help="The config whose cache is meant; default: the user's.", show_default=False)


@app.command()
def stats(config: Annotated[Path | None, _CONFIG] = None) -> None:
    """How much is in it."""
    from agentbatch.kept.cache import cache_stats
    from agentbatch.results import format_time
    from agentbatch.text import figures  # late: `agentbatch --help` needs none of this

    path = _path(config)
    found = cache_stats(path)
    typer.echo(f"{path}: {figures.counted(found.answers, 'answer')}, {found.bytes / 1e6:.1f} MB")
    if found.oldest is not None and found.newest is not None:
        typer.echo(f"from {format_time(int(found.oldest * 1e9))} to {format_time(int(found.newest * 1e9))}")


@app.command()
def clear(
    config: Annotated[Path | None, _CONFIG] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only answers of at least this age, as 30d.", show_default=False)
    ] = None,
) -> None:
    """Delete its answers."""
    from agentbatch.kept.cache import clear_cache
    from agentbatch.settings import parse_duration

    try:
        age = None if older_than is None else parse_duration(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    path = _path(config)
    typer.echo(f"{path}: {counted(clear_cache(path, older_than=age), 'answer')} deleted")


def _path(config: Path | None) -> Path:
    from agentbatch.config import load
    from agentbatch.config.cache_choice import cache_path

    return cache_path(None if config is None else load(config))
