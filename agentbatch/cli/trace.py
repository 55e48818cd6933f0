"""`agentbatch trace`: one item's spans as a tree, or the list of all items, from the files of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.text.screen import Screen
    from agentbatch.traces.entries import TraceEntry
    from agentbatch.traces.index import ErrorKind
    from agentbatch.traces.lookup import Found, TraceLookup

_DEFAULT_LIMIT = 50


def trace(
    results: Annotated[Path, typer.Argument(help="A results file, or a trace file.", show_default=False)],
    item: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="An item's id, a trace id or its beginning, or a provider's request id.",
            show_default=False,
        ),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option("--traces", help="The trace file, if it is not beside the results.", show_default=False),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only items that failed.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Failed items by error type and agent.")] = False,
    slowest: Annotated[
        int | None,
        typer.Option(min=1, help="So many items, the slowest first, and what took longest.", show_default=False),
    ] = None,
    request: Annotated[
        str | None, typer.Option(help="The items with a request of this id at the provider.", show_default=False)
    ] = None,
    export: Annotated[
        Literal["otlp"] | None,
        typer.Option(help="Send the spans of what is chosen to an OpenTelemetry collector.", show_default=False),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Its URL; default: that of OTEL_EXPORTER_OTLP_ENDPOINT.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="The newest so many, 0 for all; 50 unless with --json.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON: an item's spans, or a line per item.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
) -> None:
    """Show what happened to an item as a tree of its spans; without an ID, list the items."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.cli.patience import say_long
    from agentbatch.results.opening import refuse_other_than_traces
    from agentbatch.text.screen import screen_of
    from agentbatch.traces.lookup import TraceLookup

    choices = {"ID": item, "--failed": failed, "--errors": errors, "--slowest": slowest, "--request": request}
    chosen = [name for name, value in choices.items() if value]
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(chosen)} exclude each other: choose one")
    screen = screen_of(no_color=no_color)
    if traces is not None:
        refuse_other_than_traces(traces)
    with TraceLookup(results, traces, lambda size: say_long("making an index of {size}", size)) as lookup:
        if not lookup.has_traces:
            typer.echo(f"note: {results} has no trace file beside it: this is what the results say", err=True)
        if export is not None:
            _export(lookup, _chosen(lookup, item, failed, slowest, request, limit), endpoint)
            return
        if item is not None:
            lines = _found_lines(lookup.find(item), screen, as_json)
        elif errors:
            lines = _error_lines(lookup.errors(), screen, as_json)
        else:
            most = (None if as_json else _DEFAULT_LIMIT) if limit is None else limit or None
            lines = _list_lines(
                lookup, _entries(lookup, failed, slowest, request, most), screen, as_json, with_longest=bool(slowest)
            )
        shown = False
        for line in lines:
            shown = True
            sys.stdout.write(line)
        if not shown:
            typer.echo("no failed items" if failed or errors else "no items", err=True)


def _chosen(
    lookup: TraceLookup, item: str | None, failed: bool, slowest: int | None, request: str | None, limit: int | None
) -> Iterable[TraceEntry]:
    if item is not None:
        entry = lookup.find(item).entry
        return [] if entry is None else [entry]
    return _entries(lookup, failed, slowest, request, limit or None)


def _export(lookup: TraceLookup, entries: Iterable[TraceEntry], endpoint: str | None) -> None:
    from agentbatch.errors import InputError  # late, as above
    from agentbatch.otel.replay import replay

    if not lookup.has_traces:
        raise InputError("there is no trace file beside these results, and spans are only in one")
    sent = replay((lookup.index.line(entry) for entry in entries), endpoint)
    typer.echo(f"sent {counted(sent, 'span')}", err=True)


def _entries(
    lookup: TraceLookup, failed: bool, slowest: int | None, request: str | None, most: int | None
) -> Iterable[TraceEntry]:
    index = lookup.index
    if request is not None:
        return lookup.with_request(request)
    if slowest is not None:
        return index.slowest(slowest)
    total = index.failures() if failed else len(index)
    if most is not None and total > most:
        typer.echo(f"and {total - most:,} before these: --limit 0 lists all", err=True)
    return index.failed(most) if failed else index.newest(most)


def _found_lines(found: Found, screen: Screen, as_json: bool) -> Iterator[str]:
    # late imports: a list needs none of this
    from agentbatch.files.plain_json import dump_line
    from agentbatch.traces.lookup import found_document
    from agentbatch.traces.text import render_head, render_tree
    from agentbatch.traces.tree import tree_of_result, tree_of_spans

    if as_json:
        yield dump_line(found_document(found)).decode()
        return
    yield render_head(found, screen)
    root = tree_of_spans(list(found.spans)) if found.result is None else tree_of_result(found.result)
    if root is not None:
        yield render_tree(root, screen)


def _list_lines(
    lookup: TraceLookup, entries: Iterable[TraceEntry], screen: Screen, as_json: bool, *, with_longest: bool
) -> Iterator[str]:
    from agentbatch.files.plain_json import dump_line  # late, as above
    from agentbatch.traces.lookup import entry_document
    from agentbatch.traces.text import render_list

    longest = lookup.longest_step if with_longest and lookup.has_traces else None
    if not as_json:
        return render_list(entries, screen, longest)
    return (
        dump_line({**entry_document(entry), **({} if longest is None else {"longest": longest(entry)})}).decode()
        for entry in entries
    )


def _error_lines(kinds: list[ErrorKind], screen: Screen, as_json: bool) -> Iterator[str]:
    from agentbatch.files.plain_json import dump_line  # late, as above
    from agentbatch.traces.lookup import entry_document
    from agentbatch.traces.text import render_errors

    if not as_json:
        return render_errors(kinds, screen)
    return (
        dump_line(
            {"type": kind.type, "agent": kind.agent, "count": kind.count, "example": entry_document(kind.example)}
        ).decode()
        for kind in kinds
    )
