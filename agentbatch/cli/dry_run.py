"""`agentbatch run --dry-run`: what would run, and what it would take. Nothing is sent, and no file is touched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from agentbatch.cli.plan import shows_unicode
from agentbatch.files.plain_json import dump_line
from agentbatch.forecast import forecast
from agentbatch.forecast.text import forecast_json, render_forecast
from agentbatch.forecast.to_do import look
from agentbatch.plan import make_plan
from agentbatch.plan.text import render_tree

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.run.options import RunOptions


def show_forecast(config: Config, options: RunOptions, *, as_json: bool) -> None:
    """Print the plan, the items to do, and the forecast, or the last two as one JSON object.

    Raises:
        InputError: the run itself would refuse to begin.
    """
    plan = make_plan(config)
    to_do = look(config, options)
    if to_do.note is not None:
        typer.echo(f"note: {to_do.note}", err=True)
    reckoned = forecast(config, plan, to_do.items, to_do.drawn)
    if as_json:
        sys.stdout.write(dump_line(forecast_json(reckoned, to_do, plan)).decode())
        return
    unicode = shows_unicode()
    sys.stdout.write(render_tree(plan, unicode=unicode) + "\n")
    sys.stdout.write(render_forecast(reckoned, to_do, plan, config.limits, unicode=unicode))
