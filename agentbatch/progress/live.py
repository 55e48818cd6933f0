"""The live table: at a terminal, drawn in place twice a second.

rich colours and cuts the text (its `Text`, never its markup) at a tenth of the cost of its tables; the layout is ours.
The cursor is never hidden and the screen never switched, so there is nothing to restore: after an exception, Ctrl-Z or
even kill -9 the terminal is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from time import perf_counter

from rich.console import Console
from rich.text import Text

from agentbatch.progress.layout import ASCII_GLYPHS, Glyphs, Layout, Line
from agentbatch.progress.outlet import Outlet
from agentbatch.progress.ticker import Ticker
from agentbatch.progress.view import Watch
from agentbatch.text.redact import visible

_FIRST_S = 0.1
_MANY_ROWS = 10
_STOPPED_S = 3.0
"""After a gap this long between two looks we were stopped (Ctrl-Z), and the shell has written below the table."""


class LiveProgress:
    """Draws the table every `interval` seconds (half as often with many rows), and takes it away at the end.

    What it leaves is the summary's place; lines given to `say` stand above the table and stay.
    """

    def __init__(self, watch: Watch, outlet: Outlet, interval: float = 0.5, *, color: bool = True) -> None:
        self._watch = watch
        self._outlet = outlet
        self._interval = interval
        self._layout = Layout(Glyphs() if outlet.unicode else ASCII_GLYPHS)
        self._console = Console(
            file=StringIO(),
            force_terminal=True,
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )
        self._drawn: list[int] = []
        """The widths of the lines of the table that stands on the screen, in cells."""
        self._looked = perf_counter()
        self._ticker = Ticker(self._draw, self._pause, min(_FIRST_S, interval))

    def start(self) -> None:
        """Begin to draw."""
        self._ticker.start()

    def stop(self) -> None:
        """Take the table away and end."""
        self._ticker.stop()

    def say(self, text: str) -> None:
        """Print lines above the table."""
        self._ticker.say(text)

    def _pause(self) -> float:
        return self._interval * (2 if len(self._drawn) > _MANY_ROWS else 1)

    def _draw(self, said: Sequence[str], last: bool) -> None:
        now = perf_counter()
        if now - self._looked > _STOPPED_S + self._interval:
            self._drawn = []
        self._looked = now
        columns, rows = self._outlet.size()
        if last:
            self._outlet.flush(patience=0.5)
            self._outlet.write(self._erase(columns, rows) + _printed(said), patience=0.5)
            self._outlet.close()
        elif self._outlet.flush() and self._outlet.in_foreground():
            self._outlet.write(self._erase(columns, rows) + _printed(said) + self._frame(columns, rows))

    def _frame(self, columns: int, rows: int) -> str:
        lines = [self._text(line) for line in self._layout.lines(self._watch.look(), columns, rows)]
        for line in lines:
            line.truncate(max(1, columns - 1), overflow="ellipsis" if self._outlet.unicode else "crop")
        self._drawn = [line.cell_len for line in lines]
        return self._rendered(lines, columns)

    def _erase(self, columns: int, rows: int) -> str:
        """Back to where the old table began, however a resized window has wrapped its lines: all goes in one write."""
        if not self._drawn:
            return ""
        height = sum(max(1, -(-width // max(1, columns))) for width in self._drawn)
        return f"\r\x1b[{min(height, max(1, rows - 1))}A\x1b[J"

    def _text(self, line: Line) -> Text:
        return Text.assemble(*((self._outlet.showable(text), style) for text, style in line), no_wrap=True, end="")

    def _rendered(self, lines: Sequence[Text], columns: int) -> str:
        self._console.width = max(columns, 1)
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line, end="\n", soft_wrap=True)
        return captured.get()


def _printed(said: Sequence[str]) -> str:
    return "".join(f"{visible(line, 2000)}\n" for line in said)
