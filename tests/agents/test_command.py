"""Commands as agents: where they run, what goes in, what is kept, what they say they used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import run_here

from agentbatch.agents.command import fixed_part
from agentbatch.agents.usage import UsagePaths, read_usage
from agentbatch.config import Config, load
from agentbatch.errors import ConfigError
from agentbatch.messages import Usage

ANSWER = {
    "result": "did it",
    "total_cost_usd": 0.25,
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7},
}
USAGE = {
    "input_tokens": ["usage.input_tokens", "usage.cache_read_input_tokens"],
    "output_tokens": "usage.output_tokens",
    "cost_usd": "total_cost_usd",
}


def config(folder: Path, environ: dict[str, str] | None = None, **agent: Any) -> Config:
    path = folder / "config.yaml"
    agents = {"a": {"kind": "command", **agent}}
    path.write_text(yaml.safe_dump({"version": 1, "agents": agents}, sort_keys=False))
    return load(path, environ=environ or {})


def shell(line: str, *arguments: str) -> dict[str, Any]:
    return {"command": [line, *arguments], "shell": True}


async def run_one(folder: Path, fields: Any = None, **agent: Any) -> dict[str, Any]:
    (line,) = await run_here(config(folder, **agent), fields or {})
    return line


async def test_templates_make_arguments_and_stdin(tmp_path: Path) -> None:
    hostile = "$(touch owned); `id`\n"
    line = await run_one(
        tmp_path, {"q": hostile}, **shell('printf "%s|" "$1"; cat', "{{ input.q }}"), stdin="in: {{ input.q }}"
    )
    assert line["output"] == f"{hostile}|in: {hostile}".rstrip("\n")
    assert list(tmp_path.glob("owned")) == []


@pytest.mark.parametrize(
    ("output", "printed", "value"),
    [
        ("text", "two\nlines\n", "two\nlines"),
        ("json", '{"a": 1}', {"a": 1}),
        ("jsonl", '{"a": 1}\n2\n', [{"a": 1}, 2]),
        ("result", json.dumps(ANSWER), "did it"),
        ("-1.text", '{"text": "first"}\n{"text": "last"}\n', "last"),
    ],
)
async def test_each_form_of_output(tmp_path: Path, output: str, printed: str, value: Any) -> None:
    line = await run_one(tmp_path, {"p": printed}, command=["cat"], stdin="{{ input.p }}", output=output)
    assert line["output"] == value


async def test_tokens_and_cost_are_read_from_what_it_prints(tmp_path: Path) -> None:
    line = await run_one(
        tmp_path, {"p": json.dumps(ANSWER)}, command=["cat"], stdin="{{ input.p }}", output="result", usage=USAGE
    )
    assert line["usage"] == {"input_tokens": 15, "output_tokens": 7, "requests": 0}
    assert line["cost_usd"] == line["agents"]["a"]["cost_usd"] == 0.25


@pytest.mark.parametrize(
    ("printed", "usage", "cost"),
    [
        (json.dumps(ANSWER), Usage(15, 7), 0.25),
        ('{"type": "start"}\n{"type": "end"}', Usage(), None),
        ("no json", Usage(), None),
        ('{"usage": {"input_tokens": "many", "output_tokens": -3}, "total_cost_usd": true}', Usage(), None),
        ('{"usage": {"output_tokens": 9}}', Usage(0, 9), None),
    ],
)
def test_what_it_does_not_say_is_unknown(printed: str, usage: Usage, cost: float | None) -> None:
    assert read_usage(UsagePaths.model_validate(USAGE), printed) == (usage, cost)


async def test_tokens_without_a_price_cost_nobody_knows_what(tmp_path: Path) -> None:
    usage = {"output_tokens": "usage.output_tokens"}
    line = await run_one(
        tmp_path, {"p": json.dumps(ANSWER)}, command=["cat"], stdin="{{ input.p }}", output="result", usage=usage
    )
    assert line["cost_usd"] is None
    assert (await run_one(tmp_path, command=["true"]))["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (shell("echo out; echo why >&2; exit 3"), "exit code 3: why"),
        (shell("kill -9 $$$$"), "killed by signal 9"),
        ({**shell("echo no json"), "output": "json"}, "its output: no valid JSON"),
        ({**shell("head -c 5000 /dev/zero"), "output": "json", "max_output": 100}, "longer than max_output"),
        ({**shell("true"), "workdir": "none"}, "there is no folder"),
        ({**shell("true"), "files": {"../x": "y"}}, "paths stay inside the folder"),
        ({**shell("true"), "files": "{{ input.files }}"}, "expected names and texts, got str"),
    ],
)
async def test_failures_are_of_the_type_command(tmp_path: Path, agent: dict[str, Any], words: str) -> None:
    line = await run_one(tmp_path, {"files": "none"}, **agent)
    assert (line["status"], line["error"]["type"]) == ("error", "command")
    assert words in line["error"]["message"]


async def test_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    line = await run_one(tmp_path, **shell("head -c 5000 /dev/zero | tr '\\0' x"), max_output=100)
    assert line["output"] == "x" * 100 + "\n[truncated: 4,900 more bytes]"
    assert line["agents"]["a"]["truncated"] is True


async def test_a_hanging_command_ends_with_its_tree_at_the_timeout(tmp_path: Path) -> None:
    mark = "100.0451"
    line = await run_one(tmp_path, **shell(f"setsid sleep {mark} & sleep {mark}"), timeout="300ms")
    assert (line["status"], line["error"]["type"]) == ("timeout", "timeout")
    for entry in Path("/proc").iterdir():
        try:
            assert mark.encode() not in (entry / "cmdline").read_bytes()
        except OSError:
            continue


# the folder


async def test_each_item_has_an_empty_folder_that_goes_with_it(tmp_path: Path) -> None:
    lines = await run_here(config(tmp_path, **shell("pwd; ls -A; touch here")), *[{}] * 5)
    outputs = [line["output"] for line in lines]
    assert len(set(outputs)) == 5
    assert all("\n" not in output and not Path(output).exists() for output in outputs)


async def test_files_are_written_into_it(tmp_path: Path) -> None:
    files = {"a.txt": "{{ input.q }}", "deep/b.json": {"q": "{{ input.q }}"}}
    line = await run_one(tmp_path, {"q": "x"}, **shell("cat a.txt deep/b.json"), files=files)
    assert line["output"].startswith("x{")
    assert json.loads(line["output"][1:]) == {"q": "x"}
    line = await run_one(tmp_path, {"f": {"n.txt": "from input"}}, **shell("cat n.txt"), files="{{ input.f }}")
    assert line["output"] == "from input"


HOSTILE_NAMES = ["../owned", "/tmp/owned-by-a-test", "a/../../owned", "", ".", "a\0b", "~/owned"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_no_file_of_an_input_lands_outside(tmp_path: Path, name: str) -> None:
    line = await run_one(tmp_path, {"f": {name: "canary"}}, **shell("true"), files="{{ input.f }}")
    assert line["error"]["type"] == "command"
    assert not Path("/tmp/owned-by-a-test").exists()
    assert list(tmp_path.parent.rglob("owned")) == []


async def test_a_folder_of_ones_own_is_used_and_stays(tmp_path: Path) -> None:
    (tmp_path / "repos/one").mkdir(parents=True)
    line = await run_one(tmp_path, {"repo": "one"}, **shell("pwd; touch here"), workdir="repos/{{ input.repo }}")
    assert line["output"] == str(tmp_path / "repos/one")
    assert (tmp_path / "repos/one/here").exists()


@pytest.mark.parametrize("name", ["..", "../..", "/etc", "one/../..", "link", "a\0b"])
async def test_no_input_leads_out_of_the_folder_that_the_config_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "repos/one").mkdir(parents=True)
    (tmp_path / "repos/link").symlink_to("/etc")
    line = await run_one(tmp_path, {"repo": name}, **shell("pwd"), workdir="repos/{{ input.repo }}")
    assert line["error"]["type"] == "command"
    assert "leads out of" in line["error"]["message"] or "there is no folder" in line["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("repos/{{ x }}", "repos/"),
        ("a/b{{ x }}/c", "a/"),
        ("/srv/{{ x }}", "/srv/"),
        ("/{{ x }}", "/"),
        ("{{ x }}", ""),
        ("a/b", "a/b"),
    ],
)
def test_the_part_before_what_is_filled_in(path: str, fixed: str) -> None:
    assert fixed_part(path) == fixed


# artifacts


async def test_artifacts_are_kept_by_item_and_step(tmp_path: Path) -> None:
    line = "mkdir -p out/deep; echo 1 > out/a.py; echo 2 > out/deep/b.py; echo 3 > c.txt; ln -s /etc/passwd out/p.py"
    made = config(tmp_path, **shell(line), artifacts=["out/**/*.py"])
    lines = await run_here(made, {}, {}, artifacts=tmp_path / "kept")
    assert [line["agents"]["a"]["artifacts"] for line in lines] == [["out/a.py", "out/deep/b.py"]] * 2
    assert (tmp_path / "kept/2/a/out/deep/b.py").read_text() == "2\n"
    assert sorted(path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()) == [
        "a.py",
        "a.py",
        "b.py",
        "b.py",
    ]


async def test_what_a_failing_command_left_is_kept(tmp_path: Path) -> None:
    made = config(tmp_path, **shell("echo why > log.txt; exit 1"), artifacts=["*.txt"])
    (line,) = await run_here(made, {}, artifacts=tmp_path / "kept")
    assert line["status"] == "error"
    assert (tmp_path / "kept/1/a/log.txt").read_text() == "why\n"


async def test_artifacts_need_a_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no place for them"):
        await run_here(config(tmp_path, **shell("true"), artifacts=["*"]), {})


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../*", ""])
def test_patterns_stay_inside(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="inside the working folder"):
        config(tmp_path, **shell("true"), artifacts=[pattern])


# the environment and the limits


async def test_it_sees_what_is_named_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-in-the-environment")
    made = config(tmp_path, {"NAMED": "from the environment"}, **shell("env"), env=["NAMED"])
    (line,) = await run_here(made, {})
    assert "NAMED=from the environment" in line["output"]
    assert "canary" not in line["output"]


def test_a_named_key_is_known_as_a_secret(tmp_path: Path) -> None:
    made = config(tmp_path, {"SOME_API_KEY": "secret-of-this-test"}, **shell("env"), env=["SOME_API_KEY"])
    assert "secret-of-this-test" in made.secrets
    with pytest.raises(ConfigError, match="the environment variable OTHER_KEY is not set"):
        config(tmp_path, **shell("env"), env=["OTHER_KEY"])


async def test_so_many_run_at_once(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    line = "mkdir here/$$$$; ls here | wc -l; sleep 0.05; rmdir here/$$$$"
    made = config(tmp_path, **shell(line), workdir=".", max_concurrency=2)
    assert {int(line["output"]) for line in await run_here(made, *[{}] * 10)} <= {1, 2}
