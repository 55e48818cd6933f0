from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.files.durable import last_newline, replacing


@given(content=st.binary(max_size=40), padding=st.sampled_from([0, 65_530, 65_536, 140_000]))
def test_the_last_newline_is_found_however_far_back(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, padding: int
) -> None:
    content += b"x" * padding
    path = tmp_path_factory.mktemp("tail") / "x"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert last_newline(fd, len(content)) == content.rfind(b"\n") + 1
    finally:
        os.close(fd)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"two")
        raise ZeroDivisionError
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_link_and_a_pipe_keep_their_places(tmp_path: Path) -> None:
    link, behind, pipe = tmp_path / "link", tmp_path / "behind", tmp_path / "pipe"
    link.symlink_to(behind)
    with replacing(link) as file:
        file.write(b"one")
    assert link.is_symlink() and behind.read_bytes() == b"one"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as file:
            file.write(b"two")
        assert pipe.is_fifo() and os.read(reader, 9) == b"two"
    finally:
        os.close(reader)
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass


def test_a_draft_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    path, precious = tmp_path / "x.json", tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "x.json.tmp").symlink_to(precious)
    with replacing(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), precious.read_text()) == (b"new", "precious")
