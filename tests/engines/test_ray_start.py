"""What a private Ray consists of, and that nothing of it stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from engines_ray_project import RayProject

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
pytestmark = pytest.mark.slow


def below(pid: int) -> dict[int, str]:
    """The command lines of all processes under this one."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found |= {int(entry.name): (entry / "cmdline").read_text(), **below(int(entry.name))}
        except OSError:
            continue
    return found


def test_a_private_ray_has_only_what_a_run_needs_and_ends_with_it(tmp_path: Path):
    project = RayProject(tmp_path)
    project.write(40)
    process = project.start("--workers", "1")
    give_up = time.monotonic() + 120
    while not project.lines():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
    there = below(process.pid)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert any("gcs_server" in line for line in there.values())
    for helper in ("dashboard.py", "monitor.py", "log_monitor.py"):
        assert not any(helper in line for line in there.values()), helper
    while left := [pid for pid in there if (Path("/proc") / str(pid) / "exe").exists()]:
        assert time.monotonic() < give_up, left
        time.sleep(0.1)
