"""`agentbatch ctl`: look into a run from another terminal, pause it, change its limits, stop it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def ctl(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results file that the run writes.")],
    command: Annotated[
        Literal["status", "pause", "resume", "set", "stop"],
        typer.Argument(help="What to do; `set` takes KEY=VALUE, as models.fast.max_concurrency=20."),
    ] = "status",
    setting: Annotated[str | None, typer.Argument(metavar="[KEY=VALUE]", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON on stdout.")] = False,
) -> None:
    """Control a run from another terminal: status, pause, resume, set a limit, stop it as Ctrl-C does."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.ctl.client import ask
    from agentbatch.files.plain_json import dump_line

    if (command == "set") != (setting is not None):
        raise typer.BadParameter("`set` takes one KEY=VALUE, and the other commands take none")
    answer = ask(results, do=command, **_parsed(setting))
    if as_json:
        typer.echo(dump_line(answer).decode(), nl=False)
        return
    for line in _told(answer):
        typer.echo(line)


def _parsed(setting: str | None) -> dict[str, object]:
    if setting is None:
        return {}
    key, _, value = setting.partition("=")
    try:
        number = float(value)
    except ValueError:
        raise typer.BadParameter(f"expected KEY=NUMBER, as models.fast.max_concurrency=20, not {setting!r}") from None
    return {"key": key.strip(), "value": int(number) if number.is_integer() else number}


def _told(answer: Mapping[str, Any]) -> list[str]:
    from agentbatch.text import figures
    from agentbatch.text.redact import visible

    items, requests = answer["items"], answer["requests"]
    total = "" if items["total"] is None else f" of {figures.count(items['total'])}"
    done = figures.count(items["before"] + items["ended"])
    state = answer["state"] + (f": {visible(answer['reason'])}" if answer["reason"] else "")
    lines = [
        f"{state} (pid {answer['pid']}, {figures.span_of_time(answer['elapsed_s'])})",
        f"items     {done}{total} done, {figures.count(items['failed'])} failed, {items['in_flight']:,} in flight",
        f"requests  {figures.count(requests['sent'])} sent, {requests['in_flight']:,} in flight",
        f"spent     {figures.money(answer['spent_usd'])}",
    ]
    if answer["held_by"]:
        lines.append(f"held by   {visible(answer['held_by'])}")
    limits = {key: value for key, value in answer["limits"].items() if value is not None}
    return [*lines, *(f"limit     {visible(key)}={value:g}" for key, value in limits.items())]
