"""`agentbatch nodes`: the machines of a Ray cluster, and which agents may run where."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentbatch.errors import ExitCode

if TYPE_CHECKING:
    from agentbatch.engines.ray.survey import Survey, SurveyedNode


def nodes(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Also tell which of its agents may run where.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTBATCH_ADDRESS",
            help="The cluster: auto, or HOST:PORT of its head. Default: the config's engine.address, else auto.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """List the nodes of a Ray cluster: what they have, their versions, and which agents may run there."""
    # late imports: `agentbatch --help` needs none of this
    import asyncio

    from agentbatch.config import load
    from agentbatch.engines.ray.survey import survey
    from agentbatch.files.plain_json import dump_line

    overrides = ["engine.kind=ray", *([] if address is None else [f"engine.address={address}"])]
    with redirect_stdout(sys.stderr):  # what a user's module prints when it is imported is no data of ours
        loaded = None if config is None else load(config, overrides, os.environ, only_check=True)
    where = address or (None if loaded is None else loaded.engine.address) or "auto"
    found = asyncio.run(survey(loaded, where))
    if as_json:
        typer.echo(dump_line(_document(found)).decode(), nl=False)
    else:
        _tell(found, with_agents=loaded is not None)
    fine = not found.problems and not any(each.problem for each in found.nodes)
    raise typer.Exit(ExitCode.OK if fine else ExitCode.FAILED)


def _tell(found: Survey, *, with_agents: bool) -> None:
    from agentbatch.engines.ray.placements import labels_of, resources_of
    from agentbatch.text.figures import counted
    from agentbatch.text.redact import visible
    from agentbatch.text.table import aligned

    head = ("node", "address", "resources", "labels", "python", "agentbatch", "runs")
    rows: list[tuple[str, ...]] = [head]
    for each in found.nodes:
        node = each.node
        rows.append(
            (
                node.name + (" (head)" if node.is_head else ""),
                node.address,
                ", ".join(resources_of(node)) or "-",
                ", ".join(labels_of(node)) or "-",
                each.python or "?",
                each.agentbatch or "?",
                ", ".join(_runs(each)) or "-",
            )
        )
    if not with_agents:
        rows = [row[:-1] for row in rows]
    typer.echo(f"Ray {found.ray}, {counted(len(found.nodes), 'node')}")
    for line in aligned([[visible(cell, 60) for cell in row] for row in rows], left=range(len(head))):
        typer.echo(line)
    for each in found.nodes:
        if each.problem:
            typer.echo(f"node {visible(each.node.name, 60)}: {visible(each.problem, 500)}", err=True)
    for problem in found.problems:
        typer.echo(visible(problem, 2000), err=True)


def _runs(each: SurveyedNode) -> list[str]:
    return [*(["items"] if each.items else []), *each.agents]


def _document(found: Survey) -> dict[str, Any]:
    return {
        "ray": found.ray,
        "nodes": [
            {
                "name": each.node.name,
                "address": each.node.address,
                "head": each.node.is_head,
                "labels": dict(each.node.labels),
                "resources": dict(each.node.resources),
                "python": each.python or None,
                "agentbatch": each.agentbatch or None,
                "items": each.items,
                "agents": list(each.agents),
                "problem": each.problem or None,
            }
            for each in found.nodes
        ],
        "problems": list(found.problems),
    }
