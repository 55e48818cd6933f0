from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from agentbatch.errors import InputError, OutputError
from agentbatch.marks import Mark
from agentbatch.results.header import (
    HEADER_VERSION,
    RunHeader,
    compare_headers,
    new_header,
    read_header,
    with_marks,
    write_header,
)

SHAPE = {
    "models.fast.model": "1",
    "models.fast.params": "2",
    "agents.writer.prompt": "3",
    "agents.writer.model": "4",
    "workflow": "5",
}
HEADER = new_header(SHAPE, "digest")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.results.run.json"
    assert read_header(path) is None
    marked = with_marks(new_header(SHAPE, "digest", {"right": {"min": 0.9}}), [Mark(1.5, 0.0, "models.m.rpm 1 -> 2")])
    assert marked.marks == ({"at": 1.5, "seconds": 0.0, "what": "models.m.rpm 1 -> 2"},)
    for header in (HEADER, new_header({}, None), marked):
        write_header(path, header)
        assert read_header(path) == header
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_same_shape_and_inputs_continue_whatever_the_version_and_time() -> None:
    assert compare_headers(replace(HEADER, agentbatch="0.0.1", created_at="2001"), HEADER) == []


def test_each_changed_part_is_named() -> None:
    shape = {**SHAPE, "agents.writer.prompt": "new", "models.fast.params": "new"}
    assert compare_headers(HEADER, new_header(shape, "other")) == [
        "the inputs changed",
        "models.fast.params changed",
        "agents.writer.prompt changed",
    ]


def test_what_came_and_went_as_a_whole_is_named_once() -> None:
    shape = {name: digest for name, digest in SHAPE.items() if not name.startswith("models.")}
    shape |= {"agents.critic.prompt": "6", "agents.critic.model": "7", "agents.writer.tools": "8"}
    assert compare_headers(HEADER, new_header(shape, "digest")) == [
        "agents.critic was added",
        "agents.writer.tools was added",
        "models.fast was removed",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"version":"1"}',
        b'{"version":1,"shape":[],"inputs":null}',
        b"\xff",
    ],
)
def test_a_header_nobody_can_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.run.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.run\.json: is no readable run header"):
        read_header(path)


def test_a_header_of_a_newer_version_names_that_version(tmp_path: Path) -> None:
    path = tmp_path / "x.run.json"
    path.write_bytes(orjson.dumps({"version": HEADER_VERSION + 1, "agentbatch": "9.9.9", "other": "shape"}))
    with pytest.raises(InputError, match=r"agentbatch 9\.9\.9, which is newer"):
        read_header(path)


def test_the_first_version_stays_readable(tmp_path: Path) -> None:
    """The bytes of a header as version 1 wrote them; whoever changes the format keeps this test as it is."""
    path = tmp_path / "x.run.json"
    path.write_bytes(
        b'{"version":1,"agentbatch":"0.1.0","shape":{"agents.a.prompt":"abc"},"inputs":"d1","created_at":"2026-11-21"}'
    )
    assert read_header(path) == RunHeader(1, "0.1.0", {"agents.a.prompt": "abc"}, "d1", "2026-11-21")


def test_a_header_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.run.json"
    write_header(path, HEADER)
    os.mkdir(tmp_path / "x.run.json.tmp")  # in the draft's place: not even root can write there
    with pytest.raises(OutputError, match=r"x\.run\.json: cannot be written"):
        write_header(path, new_header({}, None))
    assert read_header(path) == HEADER
