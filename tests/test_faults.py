"""The table of faults names tests that are there, and leaves no fault out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| (\d+) \| .+ \| .+ \| (.+) \|$", (HERE / "FAULTS.md").read_text("utf-8"), re.MULTILINE)


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_fault_is_left_out() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 120))


@pytest.mark.parametrize(("number", "proofs"), ROWS)
def test_every_proof_is_there(number: str, proofs: str) -> None:
    named = re.findall(r"`([^`]+)`", proofs)
    assert named
    for proof in named:
        file, _, name = proof.partition("::")
        assert (HERE / file).is_file(), f"row {number}: {file}"
        assert not name or name in names_in(HERE / file), f"row {number}: {proof}"
