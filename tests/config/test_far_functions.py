"""Functions that run on other machines: what they ask for is read from their source, and nothing of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import forget_modules

from agentbatch.config import Config, load
from agentbatch.errors import ConfigError
from agentbatch.placement import Placement
from agentbatch.transports.function_source import function_like

GPU = {"resources": {"GPU": 1}}
MODULE = """\
import a_library_of_gpus

def embed(input, writer, size=8, *more, quick: a_library_of_gpus.Flag = a_library_of_gpus.QUICK, **rest):
    return a_library_of_gpus.embed(input)

@a_library_of_gpus.compiled
async def search(wanted):
    return []
"""


def config_of(folder: Path, function: str, engine: Mapping[str, Any], **agent: Any) -> Path:
    (folder / "on_gpus.py").write_text(MODULE)
    document = {
        "version": 1,
        "models": {"m": {"provider": "mock"}},
        "agents": {
            "writer": {"model": "m", "prompt": "x"},
            "far": {"kind": "function", "function": function, "placement": GPU, **agent},
        },
        "engine": engine,
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def loaded(folder: Path, function: str, here: Placement | None = None, **agent: Any) -> Config:
    try:
        return load(config_of(folder, function, {"kind": "ray", "address": "auto"}, **agent), here=here)
    finally:
        forget_modules(folder)


def test_its_parameters_count_as_read_without_its_libraries(tmp_path: Path):
    far: Any = loaded(tmp_path, "on_gpus:embed").agents["far"]
    assert far.arguments == {"input": "{{ input }}", "writer": "{{ writer.output }}"}


def test_a_parameter_that_is_given_nothing_is_a_problem_all_the_same(tmp_path: Path):
    with pytest.raises(ConfigError, match="'wanted' is given nothing"):
        loaded(tmp_path, "on_gpus:search")
    with pytest.raises(ConfigError, match="no parameter 'wnated'"):
        loaded(tmp_path, "on_gpus:search", arguments={"wanted": 1, "wnated": 2})


def test_a_function_that_can_not_be_read_is_left_to_its_node(tmp_path: Path):
    assert loaded(tmp_path, "a_library_of_gpus:run").agents["far"].kind == "function"


def test_where_it_runs_it_is_imported(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"importing on_gpus failed.*a_library_of_gpus"):
        loaded(tmp_path, "on_gpus:embed", Placement((), (("GPU", 1),)))


@pytest.mark.parametrize("engine", [{}, {"kind": "ray"}])
def test_on_this_machine_alone_placements_do_not_count(tmp_path: Path, engine: Mapping[str, Any]):
    with pytest.raises(ConfigError, match=r"importing on_gpus failed.*a_library_of_gpus"):
        load(config_of(tmp_path, "on_gpus:embed", engine))
    forget_modules(tmp_path)


def test_a_command_that_only_its_node_has(tmp_path: Path):
    path = config_of(tmp_path, "on_gpus:embed", {"kind": "ray", "address": "auto"})
    text = (
        path.read_text()
        .replace("kind: function", "kind: command")
        .replace("function: on_gpus:embed", "command: [nobody-has-this-program]")
    )
    path.write_text(text)
    assert load(path).agents["far"].kind == "command"
    path.write_text(text.replace("address: auto", "workers: 1"))
    with pytest.raises(ConfigError, match="nobody-has-this-program"):
        load(path)


def test_modules_in_packages_and_no_module_at_all(tmp_path: Path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("def one(): ...\n")
    (tmp_path / "pack" / "inner.py").write_text("def two(): ...\ntwo_times = two\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    assert function_like("pack:one", tmp_path) is not None
    assert function_like("pack.inner:two", tmp_path) is not None
    for name in ("pack.inner:two_times", "broken:f", "nothing:f", "no colon"):
        assert function_like(name, tmp_path) is None


TOOLS = """\
version: 1
models: {m: {provider: mock}}
tools:
  embed: {function: "on_gpus:embed"}
  program: {command: [nobody-has-this-program]}
toolsets: {both: [embed, program]}
agents:
  far: {model: m, prompt: x, tools: [TOOL], placement: {resources: {GPU: 1}}}
MORE
workflow: far
engine: {kind: ray, address: auto}
"""


@pytest.mark.parametrize("tool", ["embed, program", "both"])
def test_what_tools_are_made_of_is_asked_for_where_they_are_called(tmp_path: Path, tool: str):
    (tmp_path / "on_gpus.py").write_text(MODULE)
    path = tmp_path / "c.yaml"
    path.write_text(TOOLS.replace("TOOL", tool).replace("MORE\n", ""))
    assert load(path).agents["far"].kind == "react"
    for here, more in (
        (None, f"  near: {{model: m, prompt: x, tools: [{tool}]}}\n"),
        (Placement((), (("GPU", 1),)), ""),
    ):
        path.write_text(TOOLS.replace("TOOL", tool).replace("MORE\n", more))
        with pytest.raises(ConfigError, match=r"importing on_gpus failed") as raised:
            load(path, here=here)
        assert "nobody-has-this-program" in str(raised.value)
        forget_modules(tmp_path)
