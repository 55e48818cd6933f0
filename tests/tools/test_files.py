"""Tools that look into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import LineOf
from workflow import config_of

from agentbatch.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("canary of this test")
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    (docs / "a.txt").write_text("one\ntwo Apples\nthree\n")
    (docs / "sub/b.md").write_text("an apple\n" * 500)
    (docs / "picture.png").write_bytes(b"\x89PNG\0\0apple")
    (docs / "link.txt").symlink_to(tmp_path / "secret.txt")
    return tmp_path


def one_call(folder: Path, kind: str, **arguments: Any) -> Any:
    model = {
        "provider": "mock",
        "tool_calls": [{"name": "t", "arguments": arguments}],
        "reply": "{{ messages[-1].content }}",
    }
    tools = {"t": {kind: {"root": "docs"}}}
    return config_of(folder, {"a": {"model": "m", "prompt": "go", "tools": ["t"]}}, models={"m": model}, tools=tools)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"path": "a.txt"}, "one\ntwo Apples\nthree\n"),
        ({"path": "a.txt", "first_line": 2, "lines": 1}, "two Apples\n\n[1 more lines]"),
        ({"path": "a.txt", "first_line": 99}, ""),
        ({"path": "picture.png"}, "Error: 'picture.png' is no text"),
        ({"path": "none"}, "Error: there is no 'none'"),
    ],
)
async def test_read_file(folder: Path, line_of: LineOf, arguments: dict[str, Any], text: str) -> None:
    assert (await line_of(one_call(folder, "read_file", **arguments)))["output"] == text


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "/etc/passwd", "link.txt", "/proc/self/environ", "sub/../../secret.txt", "a.txt\\0", "~/x"],
)
@pytest.mark.parametrize("kind", ["read_file", "list_files"])
async def test_nothing_outside_is_seen(folder: Path, line_of: LineOf, kind: str, path: str) -> None:
    line = await line_of(one_call(folder, kind, path=path))
    assert line["output"].startswith("Error: ")
    assert "canary" not in line["output"]
    assert "root:" not in line["output"]


async def test_list_files(folder: Path, line_of: LineOf) -> None:
    assert (await line_of(one_call(folder, "list_files")))["output"] == ("a.txt  21 bytes\npicture.png  11 bytes\nsub/")
    assert (await line_of(one_call(folder, "list_files", path="sub")))["output"] == "b.md  4,500 bytes"


async def test_search_files(folder: Path, line_of: LineOf) -> None:
    found = (await line_of(one_call(folder, "search_files", text="APPLE")))["output"].splitlines()
    assert found[:2] == ["a.txt:2: two Apples", "sub/b.md:1: an apple"]
    assert len(found) == 201
    assert found[-1] == "[there are more]"
    only = (await line_of(one_call(folder, "search_files", text="apple", files="*.txt")))["output"]
    assert only == "a.txt:2: two Apples"
    assert (await line_of(one_call(folder, "search_files", text="canary")))["output"] == "[nothing found]"


def test_a_root_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder 'docs' beside the config"):
        one_call(tmp_path, "read_file", path="x")
