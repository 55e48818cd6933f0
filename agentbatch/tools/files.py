"""What the tools that look at files share: the folder they may look into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from agentbatch.errors import ToolFault
from agentbatch.files.folders import Folder, Outside
from agentbatch.settings import Settings
from agentbatch.transports.threads import Raised, Threads

PATH = {"type": "string", "description": "A path relative to the folder that this tool can see."}


class RootFields(Settings):
    """The folder that a tool may look into."""

    root: str
    """The folder, relative to the config. Nothing outside it can be read; links in it are not followed."""


def root_faults(key: str, fields: RootFields, folder: Path) -> Iterator[tuple[str, str]]:
    """Why the folder can't be looked into here."""
    if not (folder / fields.root).is_dir():
        yield key, f"there is no folder {fields.root!r} beside the config"


async def look(threads: Threads, work: Callable[..., Any], *arguments: Any) -> Any:
    """Look at files in a thread: a slow disk must not hold up the event loop.

    Raises:
        ToolFault: there is nothing there that may be looked at.
    """
    try:
        return await threads.run(partial(work, *arguments))
    except Raised as raised:
        if isinstance(raised.error, Outside):
            raise ToolFault(str(raised.error)) from None
        if isinstance(raised.error, OSError):
            raise ToolFault(raised.error.strerror or "it can't be read") from None
        raise raised.error from None


def text_of(data: bytes, name: str) -> str:
    """A file's text.

    Raises:
        ToolFault: it holds none.
    """
    if b"\0" in data[:8000]:
        raise ToolFault(f"{name!r} is no text")
    return data.decode("utf-8", "replace")


__all__ = ["PATH", "Folder", "RootFields", "look", "root_faults", "text_of"]
