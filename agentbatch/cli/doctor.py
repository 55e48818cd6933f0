"""`agentbatch doctor`: what is wrong with the files of a run, and mending it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentbatch.errors import ExitCode
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.doctor import Examination, Finding, Origin
    from agentbatch.inputs.formats import InputFormat
    from agentbatch.results.openai_batch import OutputFormat


def doctor(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results file of a run.", show_default=False)],
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; what is changed is kept aside before.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="The config they were made with: to check the run header, or make it anew."),
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="The inputs they were made of; - for stdin.")] = None,
    input_format: Annotated[
        Literal["auto", "jsonl", "csv", "openai-batch"],
        typer.Option(help="Of the inputs, as `run` has it."),
    ] = "auto",
    output_format: Annotated[
        Literal["agentbatch", "openai-batch"], typer.Option(help="Of the results, as `run` has it.")
    ] = "agentbatch",
    traces: Annotated[
        Path | None,
        typer.Option("--traces", help="The trace file, if it is not beside the results.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Check a results file, its header, journal, copy of stdin, traces and artifacts, and mend them."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch import doctor as room
    from agentbatch.files.plain_json import dump_line

    if (config is None) != (inputs is None):
        raise typer.BadParameter("--config and --inputs go together: what the results were made with")
    origin = None if config is None or inputs is None else _origin(config, inputs, input_format, output_format)
    found = room.repair(results, traces, origin) if repair else room.examine(results, traces, origin)
    if as_json:
        typer.echo(dump_line(_document(found)).decode(), nl=False)
    else:
        _tell(found)
    raise typer.Exit(ExitCode.FAILED if found.wrong else ExitCode.OK)


def _origin(config: Path, inputs: str, input_format: InputFormat, output_format: OutputFormat) -> Origin:
    from agentbatch.config import load
    from agentbatch.doctor import Origin

    loaded = load(config, requests=input_format == "openai-batch")
    return Origin(loaded, inputs, input_format, output_format)


def _tell(found: Examination) -> None:
    from agentbatch.text.redact import visible

    for done in found.mended:
        typer.echo(f"mended: {visible(done, 1000)}")
    for finding in found.findings:
        typer.echo(f"{visible(finding.place, 1000)}: {'' if finding.wrong else 'note: '}{visible(finding.what, 500)}")
        typer.echo(f"    means: {visible(finding.means, 500)}")
        typer.echo(f"    {_mend_word(finding)}: {visible(finding.mend, 1000)}")
    for line in _end(found):
        typer.echo(line)


def _mend_word(finding: Finding) -> str:
    return "--repair" if finding.mendable else "to mend it" if finding.wrong else "to do"


def _end(found: Examination) -> list[str]:
    import shlex

    statuses = ", ".join(f"{number:,} {status}" for status, number in sorted(found.statuses.items()))
    lines = [f"{found.results}: {counted(found.lines, 'line')}; items: {statuses or 'none yet'}"]
    if found.holder is not None:
        lines.append(
            f"A run writes it now: pid {found.holder.pid} on {found.holder.host}; its journal was not looked at."
        )
    if not found.wrong:
        lines.append("Nothing is wrong.")
    elif found.mendable and found.holder is None:
        lines.append(f"{found.wrong} wrong. Mend with: agentbatch doctor {shlex.quote(str(found.results))} --repair")
    else:
        lines.append(f"{found.wrong} wrong.")
    return lines


def _document(found: Examination) -> dict[str, object]:
    return {
        "results": str(found.results),
        "sound": not found.wrong,
        "running": None if found.holder is None else found.holder.pid,
        "lines": found.lines,
        "items": dict(found.statuses),
        "findings": [
            {
                "file": str(each.file),
                "line": each.line,
                "wrong": each.wrong,
                "what": each.what,
                "means": each.means,
                "mend": each.mend,
                "mendable": each.mendable,
            }
            for each in found.findings
        ],
        "mended": list(found.mended),
    }
