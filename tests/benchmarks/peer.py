"""The same calls with the openai package over aiohttp, installed into a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from measure import HERE

PEER = "openai over aiohttp"
_HOME = Path(tempfile.gettempdir()) / "agentbatch-benchmark-peer"


def peer_command() -> list[str] | None:
    """The command line of the peer; None where it can't be installed."""
    python = _HOME / "bin" / "python"
    try:
        if not python.exists():
            venv.create(_HOME, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "openai[aiohttp]"], check=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no peer: {error}", file=sys.stderr)
        return None
    return [str(python), str(HERE / "peer_openai.py"), "{inputs}", "--url", "{url}", "--in-flight", "{in_flight}"]
