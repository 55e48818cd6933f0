"""What stands behind a stream: how wide it is, and whether it shows colours and letters beyond ASCII."""

from __future__ import annotations

import sys
from typing import Final, TextIO

from agentbatch.progress import use_color
from agentbatch.progress.outlet import Outlet
from agentbatch.record import record

_NO_TERMINAL: Final = 120
"""Columns of text that goes to a file or a pipe."""

_CODES: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1", "cyan": "36"}


@record
class Screen:
    """What text for it may look like.

    Attributes:
        cuts: lines longer than `columns` are to be cut: a person looks at it. In a file or a pipe nothing is lost.
    """

    columns: int = _NO_TERMINAL
    unicode: bool = True
    color: bool = False
    cuts: bool = False
    encoding: str = "utf-8"

    def paint(self, text: str, style: str) -> str:
        """The text in a colour, where there are colours: `red`, `green`, `yellow`, `cyan`, `dim`, `bold`."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text and style else text

    def showable(self, text: str) -> str:
        """The text with letters that the encoding lacks shown escaped."""
        return text if text.isascii() else text.encode(self.encoding, "backslashreplace").decode(self.encoding)


def screen_of(stream: TextIO | None = None, *, no_color: bool = False) -> Screen:
    """The screen behind a stream; default stdout."""
    outlet = Outlet(sys.stdout if stream is None else stream)
    try:
        columns = outlet.size()[0] if outlet.is_tty else _NO_TERMINAL
        color = use_color(outlet, no_color)
        return Screen(columns, outlet.unicode, color, outlet.is_tty, outlet.encoding)
    finally:
        outlet.close()
