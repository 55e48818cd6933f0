"""Files that agents leave behind: their names, and that only their own are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentbatch.errors import CommandFault
from agentbatch.results import artifacts
from agentbatch.results.artifacts import file_name, keep_artifacts

HOSTILE = [
    "..",
    ".",
    "",
    "a/../b",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "ä" * 300,
    "x" * 300,
    "x" * 299 + "y",
    "CON",
    "a%2Fb",
]


def test_every_text_has_a_safe_name_of_its_own(tmp_path: Path) -> None:
    names = [file_name(text) for text in HOSTILE]
    assert len(set(names)) == len(names)
    for name in names:
        assert "/" not in name
        assert name not in ("", ".", "..")
        (tmp_path / name).mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert file_name("T-1001") == "T-1001"
    assert file_name("refine[2].writer") == "refine[2].writer"


def test_what_fits_is_copied_and_links_are_not(tmp_path: Path) -> None:
    source, target = tmp_path / "work", tmp_path / "kept/1/coder"
    (source / "out/deep").mkdir(parents=True)
    (source / "out/a.py").write_text("a")
    (source / "out/deep/b.py").write_text("b")
    (source / "out/note.txt").write_text("n")
    (tmp_path / "secret.py").write_text("canary")
    (source / "out/link.py").symlink_to(tmp_path / "secret.py")
    (source / "linked").symlink_to(tmp_path)
    target.mkdir(parents=True)
    (target / "old.py").write_text("of an earlier run")
    assert keep_artifacts(["out/**/*.py", "linked/*.py", "*.none", "out/a.py"], source, target) == [
        "out/a.py",
        "out/deep/b.py",
    ]
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*.py")) == ["out/a.py", "out/deep/b.py"]
    assert (target / "out/deep/b.py").read_text() == "b"


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_FILES", 1)
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(CommandFault, match="more than 1 files"):
        keep_artifacts(["*"], tmp_path, tmp_path.parent / "kept")


def test_a_target_that_can_not_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "file").touch()
    with pytest.raises(CommandFault, match="can't be kept"):
        keep_artifacts(["a"], tmp_path, tmp_path / "file" / "below")
