"""What else belongs to a run on other machines: files that agents leave behind, and what can't be had there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from engines_ray_project import RayProject
from workflow import config_of

from agentbatch.config import Config, config_shape, load
from agentbatch.engines.ray.files_home import FilesHome, write_pieces
from agentbatch.engines.ray.placements import placements, tasks
from agentbatch.engines.ray.refusals import notes, refuse
from agentbatch.errors import ConfigError, OutputError
from agentbatch.results.artifacts import ArtifactFolder


def left_behind(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def travel(home: FilesHome, to: Path) -> int:
    """Carry everything, and say in how many loads."""
    loads = 0
    while home.waiting:
        write_pieces(to, home.take(1_000_000))
        loads += 1
    return loads


def test_files_come_home_whole_in_pieces_and_leave_nothing(tmp_path: Path):
    home = FilesHome()
    large = bytes(range(256)) * 9000
    source = left_behind(tmp_path / "work", out__a=large, empty=b"", **{"b.txt": b"b"})
    kept = ArtifactFolder(home.folder, home.send).keep(["**/*"], source, "item/1", "coder[2]")
    assert kept == ["b.txt", "empty", "out/a"]
    assert travel(home, tmp_path / "kept") == 3
    folder = tmp_path / "kept" / "item%2F1" / "coder[2]"
    assert (folder / "out" / "a").read_bytes() == large
    assert (folder / "empty").read_bytes() == b""
    assert [path for path in home.folder.rglob("*") if path.is_file()] == []
    home.close()
    assert not home.folder.exists()


def test_a_step_that_is_done_again_replaces_what_it_left_before(tmp_path: Path):
    for name in ("one", "two"):
        home = FilesHome()
        ArtifactFolder(home.folder, home.send).keep(["*"], left_behind(tmp_path / name, **{name: b"x"}), "1", "coder")
        travel(home, tmp_path / "kept")
        home.close()
    assert [path.name for path in (tmp_path / "kept" / "1" / "coder").iterdir()] == ["two"]


def test_a_step_that_begins_again_before_its_files_are_sent_loses_none(tmp_path: Path):
    home, kept = FilesHome(), tmp_path / "kept"
    folder = ArtifactFolder(home.folder, home.send)
    for name in ("one", "two"):
        folder.keep(["*"], left_behind(tmp_path / name, **{name: b"x" * 900_000}), "1", "coder")
    write_pieces(kept, home.take(1))
    folder.keep(["*"], left_behind(tmp_path / "three", three=b"xyz"), "1", "coder")  # while earlier ones are on the way
    travel(home, kept)
    assert {path.name: path.read_bytes() for path in (kept / "1" / "coder").iterdir()} == {"three": b"xyz"}
    folder.keep(["*"], left_behind(tmp_path / "four"), "1", "coder")
    travel(home, kept)
    assert not (kept / "1" / "coder").exists()
    home.close()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_no_file_goes_outside(tmp_path: Path, name: str):
    with pytest.raises(OutputError, match="outside"):
        write_pieces(tmp_path / "kept", [(name, b"x")])
    assert list(tmp_path.iterdir()) == []


def on_cluster(folder: Path, agents: dict[str, Any], **sections: Any) -> Config:
    engine = {"kind": "ray", "address": "10.0.0.1:6379", **sections.pop("engine", {})}
    return config_of(folder, agents, engine=engine, **sections)


def test_what_can_not_be_had_there_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    placed = {"first": {"placement": {"disk": "ssd"}}}
    refused = {
        "limits.shared": on_cluster(tmp_path, {"first": {}}, limits={"shared": "x"}),
        "agents.first.placement needs": on_cluster(tmp_path, placed, engine={"limiter": {"mode": "static"}}),
        "limits.max_cost can't be split": on_cluster(
            tmp_path, {"first": {}}, limits={"max_cost": 1.0}, engine={"limiter": {"mode": "static"}}
        ),
        "tools.look.read_file.root: other machines do not have 'docs'": on_cluster(
            tmp_path, {"first": {"tools": ["look"]}}, tools={"look": {"read_file": {"root": "docs"}}}
        ),
    }
    for words, config in refused.items():
        with pytest.raises(ConfigError) as caught:
            refuse(config, placements(config))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_folders_that_go_along_are_there(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    agents = {"first": {"tools": ["look"], "content": [{"image": "{{ input.path }}"}]}}
    tools = {"look": {"read_file": {"root": "docs"}}}
    config = on_cluster(tmp_path, agents, tools=tools, engine={"working_dir": "."})
    refuse(config, {})
    assert notes(config) == []
    (note,) = notes(on_cluster(tmp_path, {"first": {"content": [{"image": "{{ input.path }}"}]}}))
    assert "agents.first.content_root" in note
    assert "engine.working_dir" in note


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--record", "tape.jsonl"), "--record works in one process"),
        (("--replay", "tape.jsonl"), "--replay works in one process"),
        (("--output-format", "openai-batch"), "--output-format works in one process"),
    ],
)
def test_what_only_one_process_can_do_is_refused_before_ray_starts(tmp_path: Path, options: Any, words: str):
    (tmp_path / "tape.jsonl").write_text("")
    project = RayProject(tmp_path)
    project.write(2)
    code, said = project.run(*options)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said


def test_on_one_machine_a_placement_is_ignored_with_a_note_and_shapes_no_answer(tmp_path: Path):
    plain = config_of(tmp_path, {"first": {}, "second": {}}, workflow=["first"])
    placed = {"first": {"placement": {"disk": "ssd", "example.com/zone": "a", "resources": {"GPU": 0.5}}}, "second": {}}
    here = config_of(tmp_path, placed, workflow=["first"])
    assert [note for note in here.notes if "placement" in note and "ignored" in note and "first" in note]
    assert config_shape(here) == config_shape(plain)
    there = on_cluster(tmp_path, placed, workflow=["first"])
    assert not [note for note in there.notes if "ignored" in note]
    (placement,) = placements(there).values()
    assert placement.words == "disk=ssd, example.com/zone=a, GPU: 0.5"
    labels = {"disk": "ssd", "example.com/zone": "a", "ray.io/node-id": "x"}
    assert placement.room_on(labels, {"GPU": 2.0}) == 4
    assert placement.room_on(labels, {"CPU": 8.0}) == 0
    assert placement.room_on({"disk": "ssd"}, {"GPU": 2.0}) == 0


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ({"disk": 1}, "placement.disk: expected text"),
        ({"resources": {"GPU": 0}}, "placement.resources.GPU: must be more than 0"),
        ({"resources": {"GPU": "one"}}, "placement.resources.GPU: expected a number"),
    ],
)
def test_a_placement_that_says_nothing_sensible(tmp_path: Path, placement: Any, words: str):
    with pytest.raises(ConfigError, match=re.escape(words)):
        config_of(tmp_path, {"first": {"placement": placement}})


def test_only_agents_in_use_need_a_node(tmp_path: Path):
    agents = {"first": {"placement": {"disk": "ssd"}}, "second": {"placement": {"disk": "tape"}}}
    config = on_cluster(tmp_path, agents, workflow=["first"])
    assert list(placements(config)) == ["first"]


def test_only_functions_in_use_are_tasks(tmp_path: Path):
    (tmp_path / "unused_work.py").write_text("def work(): return 1\n")
    function = {"kind": "function", "function": "unused_work:work", "executor": "ray"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "agents": {"a": function, "b": function}, "workflow": ["b"]}))
    assert list(tasks(load(path, environ={}))) == ["b"]
