"""Take a picture of the live table of a real run in a real terminal, for the README:

python tests/progress/capture.py configs/rehearsal.yaml 600 12 > .github/images/live.svg
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from itertools import groupby
from pathlib import Path

import pyte
from rich.color import ColorParseError
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, LINES = 104, 14


def screen_of(config: str, items: int, seconds: float) -> pyte.Screen:
    """What a person sees after so many seconds of the run."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "numbers.jsonl").write_text("".join(f"{number}\n" for number in range(1, items + 1)))
        command = [sys.executable, "-m", "agentbatch", "run", str(Path(config).resolve()), "numbers.jsonl"]
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
        env.pop("CI", None)
        with subprocess.Popen(command, cwd=folder, env=env, stdout=slave, stderr=slave) as run:
            os.close(slave)
            os.set_blocking(master, False)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.02)
                try:
                    stream.feed(os.read(master, 65536))
                except BlockingIOError:
                    continue
            run.kill()
    os.close(master)
    return screen


def style_of(cell: pyte.screens.Char) -> Style:
    colour = {"brown": "yellow", "default": None}.get(cell.fg, cell.fg)
    try:
        return Style(color=f"#{colour}" if colour and re.fullmatch("[0-9a-f]{6}", colour) else colour, bold=cell.bold)
    except ColorParseError:
        return Style(bold=cell.bold)


def picture(screen: pyte.Screen) -> str:
    """The screen as SVG, without the font that it would fetch."""
    used = max(number for number, row in enumerate(screen.display) if row.strip()) + 1
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number in range(used):
        cells = [screen.buffer[number][column] for column in range(COLUMNS)]
        line = Text()
        for style, run in groupby(cells, style_of):
            line.append("".join(cell.data for cell in run), style)
        line.rstrip()
        console.print(line, overflow="crop", no_wrap=True)
    svg = console.export_svg(title="agentbatch run", theme=MONOKAI)
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.S).replace("Fira Code", "monospace")


if __name__ == "__main__":
    name, count, after = sys.argv[1:4]
    sys.stdout.write(picture(screen_of(name, int(count), float(after))))
