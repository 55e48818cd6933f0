"""`agentbatch plan`: what a config would do with an item, as a tree or a diagram."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def plan(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The YAML config.", show_default=False)],
    workflow: Annotated[
        str | None,
        typer.Option(envvar="AGENTBATCH_WORKFLOW", help="Start at another agent or group.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            envvar="AGENTBATCH_SET",
            help="KEY=VALUE: override a config key by its dotted path. In the variable: one a line.",
        ),
    ] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart, for Markdown.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="A Graphviz digraph, as for `dot -Tsvg`.")] = False,
) -> None:
    """Show the workflow as a tree: who runs when, how many calls an item makes, which limits hold."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.cli.overrides import said_overrides
    from agentbatch.config import load
    from agentbatch.plan import make_plan
    from agentbatch.plan.diagram import render_dot, render_mermaid
    from agentbatch.plan.text import render_tree

    if mermaid and dot:
        raise typer.BadParameter("--mermaid and --dot exclude each other: choose one")
    overrides = [*(settings or []), *said_overrides(context, {"workflow": "workflow"})]
    made = make_plan(load(config, overrides, os.environ, only_check=True))
    if mermaid:
        text = render_mermaid(made)
    elif dot:
        text = render_dot(made)
    else:
        text = render_tree(made, unicode=shows_unicode())
    sys.stdout.write(text)


def shows_unicode() -> bool:
    """Whether stdout takes more than ASCII."""
    from agentbatch.progress.outlet import Outlet

    outlet = Outlet(sys.stdout)
    try:
        return outlet.unicode
    finally:
        outlet.close()
