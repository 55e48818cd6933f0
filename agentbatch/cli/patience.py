"""A word to a person at a terminal before something takes long."""

from __future__ import annotations

import sys
from typing import Final

import typer

_LONG_BYTES: Final = 200_000_000
"""More than some seconds' reading."""


def say_long(doing: str, size: int) -> None:
    """`indexing 2.8 GB, once`: where that many bytes take long, and a person looks at stderr."""
    if size >= _LONG_BYTES and sys.stderr.isatty():
        typer.echo(f"{doing.format(size=f'{size / 1e9:.1f} GB')} ...", err=True)
