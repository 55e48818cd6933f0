"""A folder as a boundary: no name leads out of it, by whatever trick."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentbatch.files.folders import Folder, Outside

CANARY = "canary outside the folder"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with some files, and all kinds of ways out of it."""
    (tmp_path / "secret").write_text(CANARY)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text(CANARY)
    root = tmp_path / "root"
    (root / "sub/deep").mkdir(parents=True)
    (root / "a.txt").write_text("inside")
    (root / "sub/b.txt").write_text("deeper")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "sub/out").symlink_to(tmp_path / "outside")
    (root / "self").symlink_to("a.txt")
    os.mkfifo(root / "pipe")
    return root


WAYS_OUT = [
    "../secret",
    "sub/../../secret",
    "sub/deep/../../../secret",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "\\\\server\\share",
    "~/secret",
    "~root",
    "link",
    "up/secret",
    "sub/out/secret",
    "self",
    "pipe",
    "sub",
    ".",
    "",
    "a.txt/",
    "a.txt/../../secret",
    "a.txt\0../secret",
    "file:///etc/passwd",
    "..%2fsecret",
    "x" * 5000,
    "/".join(["sub"] * 100),
    "none.txt",
]


@pytest.mark.parametrize("name", [name for name in WAYS_OUT if name != "a.txt/"])
def test_no_name_reads_what_is_outside(root: Path, name: str) -> None:
    with pytest.raises(Outside) as said:
        Folder(root).read(name, 1000)
    assert CANARY not in str(said.value)
    assert len(str(said.value)) < 6000


def test_what_is_inside_is_read_up_to_a_limit(root: Path) -> None:
    folder = Folder(root)
    assert folder.read("a.txt", 1000) == (b"inside", 6)
    assert folder.read("./sub//b.txt", 4) == (b"deep", 6)


def test_a_root_may_be_reached_through_a_link(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert Folder(root.parent / "alias").read("a.txt", 10) == (b"inside", 6)


def test_listings_leave_out_links_and_pipes(root: Path) -> None:
    folder = Folder(root)
    assert folder.entries() == [("a.txt", False, 6), ("sub", True, folder.entries()[1][2])]
    assert list(folder.walk()) == ["a.txt", "sub/b.txt"]
    assert list(folder.walk("sub")) == ["sub/b.txt"]
    for name in ("up", "sub/out", "../outside", "none", "a.txt"):
        with pytest.raises(Outside):
            folder.entries(name)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "up/x", "sub/out/x", "link", "a.txt/x", "sub", "", "x\0y"])
def test_nothing_is_written_outside(root: Path, name: str) -> None:
    before = {path: path.read_text() for path in root.parent.rglob("secret")}
    with pytest.raises(Outside):
        Folder(root).write(name, b"overwritten")
    assert {path: path.read_text() for path in root.parent.rglob("secret")} == before
    assert not (root.parent / "x").exists()
    assert not (root.parent / "outside/x").exists()


def test_files_are_written_with_the_folders_that_lead_to_them(root: Path) -> None:
    folder = Folder(root)
    folder.write("new/below/c.txt", b"first")
    folder.write("new/below/c.txt", b"2")
    assert (root / "new/below/c.txt").read_bytes() == b"2"


def test_no_descriptor_is_left_open(root: Path) -> None:
    folder = Folder(root)
    before = len(os.listdir("/proc/self/fd"))
    for name in [*WAYS_OUT, "a.txt", "sub/b.txt"]:
        for act in (lambda name: folder.read(name, 10), folder.entries, lambda name: folder.write("up/" + name, b"")):
            try:
                act(name)
            except Outside:
                pass
    list(folder.walk())
    assert len(os.listdir("/proc/self/fd")) == before
