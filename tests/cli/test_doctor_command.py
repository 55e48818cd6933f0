"""`agentbatch doctor` as a person and as a script uses it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_files import result, write_results

from agentbatch.results.header import new_header, write_header

ROOT = Path(__file__).parents[2]


def doctor(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentbatch", "doctor", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results file with damage in its second line."""
    write_header(tmp_path / "r.run.json", new_header({}, "digest"))
    write_results(tmp_path / "r.jsonl", result("1"), b"\x1b[31mjunk\n", result("2", index=1))
    return tmp_path


def test_it_says_what_is_wrong_and_mends_it(folder: Path) -> None:
    found = doctor(folder, "r.jsonl")
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.startswith("r.jsonl:2: damaged, and not by an interrupted write: not JSON")
    assert "Mend with: agentbatch doctor r.jsonl --repair" in found.stdout
    assert "\x1b" not in found.stdout
    mended = doctor(folder, "r.jsonl", "--repair")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.startswith("mended: ")
    assert "Nothing is wrong." in mended.stdout
    assert doctor(folder, "r.jsonl").returncode == 0


def test_json_says_the_same(folder: Path) -> None:
    found = doctor(folder, "r.jsonl", "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, document["sound"], document["lines"], document["items"]) == (1, False, 2, {"ok": 2})
    (finding,) = document["findings"]
    assert (finding["file"], finding["line"], finding["wrong"], finding["mendable"]) == ("r.jsonl", 2, True, True)
    mended = json.loads(doctor(folder, "r.jsonl", "--json", "--repair").stdout)
    assert (mended["sound"], len(mended["mended"])) == (True, 1)


def test_a_name_that_is_no_output_is_a_usage_error(folder: Path) -> None:
    assert doctor(folder, "nothing.jsonl").returncode == 2
    assert doctor(folder, "r.jsonl", "--config", "c.yaml").returncode == 2
