"""The benchmarks still run: with small numbers, and only as far as that figures come out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_small_run_measures_every_side_and_prints_ratios(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [sys.executable, str(RUN), "calls-200", "--quick", "--calls", "40", "--runs", "1", "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "ours / raw aiohttp" in done.stdout
    assert "goal: wall <= 1.25 x" in done.stdout
    (figures,) = json.loads(kept.read_text())
    assert figures["notes"] == []
    for side, (run,) in figures["runs"].items():
        assert run["exit_code"] == 0, side
        assert run["server"]["requests"] == 40, side
        assert run["server"]["peak_in_flight"] == 40, side
        assert run["wall_s"] > run["work_s"] >= 0.1, side
        assert run["cpu_s"] > 0 and run["rss_mb"] > 5, side
