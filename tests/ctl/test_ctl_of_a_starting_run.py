"""`agentbatch ctl` on a run that holds its output and does not listen yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentbatch.ctl.client import ask
from agentbatch.errors import InputError
from agentbatch.files.lock import OutputLock


def test_a_run_without_a_socket_is_starting_or_ending(tmp_path: Path) -> None:
    results = tmp_path / "x.jsonl"
    with OutputLock(results), pytest.raises(InputError, match="it is starting, or ending"):
        ask(results, do="status")
