"""The commands as one typer app. Each verb's file is light: what its work needs is imported when it works."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agentbatch import __version__
from agentbatch.cli.at_head import app as at_head
from agentbatch.cli.cache import app as cache
from agentbatch.cli.ctl import ctl
from agentbatch.cli.doctor import doctor
from agentbatch.cli.init import init
from agentbatch.cli.jobs import fetch, logs, status, stop
from agentbatch.cli.mock import mock
from agentbatch.cli.nodes import nodes
from agentbatch.cli.plan import plan
from agentbatch.cli.report import report
from agentbatch.cli.results import app as results
from agentbatch.cli.run import run
from agentbatch.cli.schema import schema
from agentbatch.cli.submit import submit
from agentbatch.cli.trace import trace
from agentbatch.cli.validate import validate
from agentbatch.cli.variables import CommandReadingVariables, CommandWithVariables
from agentbatch.cli.watch import watch
from agentbatch.errors import ExitCode


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command. Typer would end a broken pipe with exit code 1, which is a verdict of ours."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(ExitCode.SIGPIPE) from None


app = typer.Typer(
    cls=_Verbs,
    name="agentbatch",
    help="Run LLM agents over a JSONL of inputs: a YAML config in, one result line per input out.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentbatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


app.command(cls=CommandWithVariables)(run)
for command in (plan, validate):
    app.command(cls=CommandReadingVariables)(command)
for command in (init, schema, trace, report, watch, ctl, doctor, nodes, mock):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(submit)
for command in (status, logs, stop, fetch):
    app.command()(command)
app.add_typer(results, name="results")
app.add_typer(cache, name="cache")
app.add_typer(at_head, name="at-head")
