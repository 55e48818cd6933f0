"""What a canary found, told at the command line; a person at a terminal is asked whether to go on."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import typer

from agentbatch.text import figures

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary
    from agentbatch.run.options import Confirm

_YES = frozenset({"y", "yes"})


def confirming(*, yes: bool, quiet: bool) -> Confirm:
    """Tells on stderr what was found, unless `quiet`, and asks, where a person can answer and has not said `yes`.

    Nobody is asked in CI, or where stdin or stderr is no terminal: then the run goes on if nothing is against it.
    """
    asks = not yes and not os.environ.get("CI") and os.isatty(0) and os.isatty(2)

    async def confirm(found: Canary) -> bool:
        from agentbatch.canary.text import render_canary  # late: only a run with a canary needs it

        if asks or not quiet:
            typer.echo(render_canary(found), err=True)
        if not asks or not found.others:
            return not found.against
        others = "item" if found.others == 1 else figures.counted(found.others, "item")
        typer.echo(f"Go on with the other {others}? [y/N] ", err=True, nl=False)
        return (await _typed_line()).strip().lower() in _YES

    return confirm


async def _typed_line() -> str:
    """The next line typed at the terminal; empty at its end. Cancelling leaves nothing behind that reads."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not typed.done():
            typed.set_result(os.read(0, 4096).decode("utf-8", "replace"))

    loop.add_reader(0, read)
    try:
        return await typed
    finally:
        loop.remove_reader(0)
