"""`agentbatch results`: read results back: export, sum up, pick what failed, merge, compare."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from agentbatch.errors import InputError, OutputError, UsageError
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.results.diff import DiffSums, ItemDiff

app = typer.Typer(
    help="Read results back: export, sum up, pick what failed, merge, compare.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_RESULTS = typer.Argument(metavar="RESULTS", help="A results file.", show_default=False)
_OUTPUT = typer.Option("-o", "--output", help="Write it here; default: stdout.", show_default=False)
_JSON = typer.Option("--json", help="JSON on stdout.")


@app.command()
def export(
    results: Annotated[Path, _RESULTS],
    form: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="Default: what the name of the output says, or jsonl.", show_default=False),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(help="Which, as id,output.score,agents.writer.output.", show_default=False),
    ] = None,
    output: Annotated[Path | None, _OUTPUT] = None,
) -> None:
    """Write results as CSV, JSON lines or Parquet: one line per item, its last."""
    # late imports, here and below: `agentbatch --help` needs none of this
    from agentbatch.results.export import export as write
    from agentbatch.results.export import format_of
    from agentbatch.results.lines import CountedLines

    chosen = form or format_of(output)
    if chosen == "parquet" and output is None:
        raise typer.BadParameter("a Parquet file can't go to stdout: name it with -o FILE")
    names = [name.strip() for name in (fields or "").split(",") if name.strip()]
    with CountedLines(results) as lines, _written(output, results) as file:
        write(lines, file, chosen, names)


@app.command()
def stats(results: Annotated[Path, _RESULTS], as_json: Annotated[bool, _JSON] = False) -> None:
    """Counts, latencies, tokens, cost and errors, for the whole and for each agent."""
    from agentbatch.files.plain_json import dump_line
    from agentbatch.results.lines import CountedLines
    from agentbatch.results.stats import ResultStats, render_stats

    with CountedLines(results) as lines:
        found = ResultStats(lines)
    if as_json:
        _print([dump_line({**found.document(), "superseded": lines.superseded}).decode()])
    else:
        _print([render_stats(found, lines.superseded)])


@app.command()
def failed(
    results: Annotated[Path, _RESULTS],
    inputs: Annotated[
        Path | None,
        typer.Option(help="The inputs: write the failed items' lines of it, to run them again.", show_default=False),
    ] = None,
    input_format: Annotated[
        Literal["auto", "jsonl", "csv", "openai-batch"],
        typer.Option(help="Of the inputs, as `run` has it."),
    ] = "auto",
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only errors of this type; may be given several times.", show_default=False),
    ] = None,
    output: Annotated[Path | None, _OUTPUT] = None,
) -> None:
    """The failed items: their ids, or with --inputs a file of inputs that holds only them."""
    from agentbatch.results.failures import Chosen, failed_lines, id_line
    from agentbatch.results.lines import CountedLines

    with CountedLines(results) as lines, _written(output, results, inputs) as file:
        chosen = failed_lines(lines, types or ())
        if inputs is None:
            for line in chosen:
                file.write(id_line(line["id"]).encode())
            return
        picked = Chosen()
        for line in picked.lines(inputs, {fields["index"]: fields["id"] for fields in chosen}, input_format):
            file.write(line)
    for note in picked.notes():
        typer.echo(f"note: {note}", err=True)


@app.command()
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="A B...", help="Results files.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the merged results here.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Even if they are of different inputs.")] = False,
) -> None:
    """Make one results file of several: of an item that several have, the last file's line."""
    from agentbatch.results.merge import merge as merge_files

    merged = merge_files(sources, output, force=force)
    for note in merged.notes:
        typer.echo(f"note: {note}", err=True)
    replaced = f", {counted(merged.replaced, 'line')} replaced by later ones" if merged.replaced else ""
    more = "; `agentbatch run` can continue it" if merged.continuable else ""
    typer.echo(f"{output}: {counted(merged.items, 'item')}{replaced}{more}", err=True)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The results before.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="The results after.", show_default=False)],
    margin: Annotated[float, typer.Option(min=0, help="The share by which times and costs must differ.")] = 0.25,
    as_json: Annotated[bool, _JSON] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if an item fails that did not.")] = False,
) -> None:
    """Compare two results files item by item: what broke, what was mended, other outputs, slower, dearer."""
    from agentbatch.results.diff import DiffReport, DiffSums, compare
    from agentbatch.results.lines import CountedLines

    with CountedLines(a) as before, CountedLines(b) as after:
        diffs = compare(before, after, margin)
        if as_json:
            sums = DiffSums()
            _print(_diff_pieces(diffs, sums))
        else:
            report = DiffReport.of(diffs)
            sums = report.sums
            _print([report.render()])
    if exit_code and sums.changes.get("broken"):
        raise typer.Exit(1)


def _diff_pieces(diffs: Iterable[ItemDiff], sums: DiffSums) -> Generator[str]:
    """One JSON document, written as it is made: the items that differ, one a line, and the sums."""
    from agentbatch.files.plain_json import dump_line
    from agentbatch.results.diff import diff_document

    between = '{"items": [\n'
    for item in diffs:
        sums.add(item)
        if item.changes:
            yield between + dump_line(diff_document(item)).decode().rstrip("\n")
            between = ",\n"
    begun = between if between.startswith("{") else "\n"
    yield f'{begun}], "summary": {dump_line(sums.document()).decode().rstrip()}}}\n'


@contextmanager
def _written(output: Path | None, *read: Path | None) -> Generator[BinaryIO]:
    """Where an output goes: stdout, or a file that is there as a whole in the end, and is none of those it is made of.

    Raises:
        OutputError: it can't be written.
    """
    from agentbatch.files.durable import replacing

    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        return
    _refuse_inputs(output, read)
    for path in read:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise UsageError(f"{output}: is what is read here, and would be overwritten; name another -o FILE")
    try:
        with replacing(output) as file:
            yield file
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error


def _refuse_inputs(output: Path, read: Iterable[Path | None]) -> None:
    """See that an output is none of the files that the results were made from: they know those by their digest."""
    from agentbatch.inputs.file_bytes import digest_of
    from agentbatch.results.files import ResultFiles
    from agentbatch.results.header import read_header

    if not output.is_file():
        return
    of_inputs: set[str | None] = set()
    for path in read:
        with suppress(InputError):  # a header that can't be read is no matter of this command
            header = None if path is None else read_header(ResultFiles(path).header)
            of_inputs.add(None if header is None else header.inputs)
    if digest_of(output) in of_inputs:
        raise UsageError(f"{output}: holds the inputs of this run, which would be overwritten; name another -o FILE")


def _print(pieces: Iterable[str]) -> None:
    from agentbatch.text.screen import screen_of

    screen = screen_of()
    for piece in pieces:
        sys.stdout.write(screen.showable(piece))
