"""What a user's module prints when it is imported does not get among the results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_it_goes_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "mine_that_prints.py").write_text("print('hello')\n\ndef answer(input):\n    return 'fine'\n")
    (tmp_path / "c.yaml").write_text(
        "version: 1\nagents: {a: {kind: function, function: 'mine_that_prints:answer'}}\nworkflow: a\n"
    )
    (tmp_path / "in.jsonl").write_text('{"n": "1"}\n')
    words = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "-"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "hello" in ended.stderr
    assert [json.loads(line)["status"] for line in ended.stdout.splitlines()] == ["ok"]
