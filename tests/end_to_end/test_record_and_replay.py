"""A run recorded once is replayed anywhere: without keys, without a network, and with nothing made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from end_to_end.project import KEY, Project
from end_to_end.provider import Asked, Provider, Reply, as_stream, good, refused
from end_to_end.test_provider_batches import provider_of, use
from end_to_end.test_secrets import CANARY, SPELLINGS

TIMES = ("trace_id", "started_at", "queued_s", "duration_s", "replayed")


def without_times(value: Any) -> Any:
    """A result line less what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return value


def outcome(project: Project) -> dict[str, Any]:
    """The results, as far as they are the same in every run."""
    return {name: without_times(line) for name, line in project.by_id().items()}


def draws(asked: Asked) -> Reply:
    """No two answers are alike; one item is declined for good, one gives the key away."""
    if asked.id == "3":
        return refused("400 Bad Request", "invalid", "never that one")
    return good(asked.id, text=f"draw {asked.number}" + (f" {KEY}" if asked.id == "4" else ""))


def refining(project: Project) -> None:
    """Two turns, the second about the first's answer; three copies of a command that draws a number."""
    agents = {
        "writer": {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"},
        "critic": {"model": "m", "prompt": "item={{ item.id }}; on {{ writer.output }}"},
        "dice": {"kind": "command", "command": ["sh", "-c", "od -An -N4 -tu4 /dev/urandom"]},
    }
    thrown = {"parallel": [{"agent": "dice", "copies": 3}]}
    project.configure(
        agents=agents,
        groups={"thrown": thrown},
        workflow=["writer", "critic", "thrown"],
        model={"base_url": "${MODEL_URL}", "extra_headers": {"x-team": "${TEAM}"}},
    )


def test_a_replay_needs_neither_keys_nor_network_and_gives_the_same_results(
    project: Project, provider: Provider
) -> None:
    refining(project)
    project.give(6)
    provider.script = draws
    known = {"MODEL_URL": provider.url, "TEAM": "blue"}
    assert project.run("--record", "answers.jsonl", "--max-failures", "1", env=known).code == 0
    recorded = outcome(project)
    assert recorded["3"]["error"]["type"] == "bad_request"
    asked = len(provider.requests)
    tape = project.folder / "answers.jsonl"
    assert KEY.encode() not in tape.read_bytes()
    lines = [json.loads(line) for line in tape.read_bytes().splitlines()[1:]]
    assert len(lines) == asked + 5 * 3

    ended = project.run("--overwrite", "--replay", "answers.jsonl", "--max-failures", "1", env={"TEST_KEY": None})
    assert ended.code == 0, ended.stderr
    replayed = outcome(project)
    assert replayed.pop("3")["error"]["message"] == recorded.pop("3")["error"]["message"]
    assert replayed == recorded
    assert len(provider.requests) == asked
    assert "nothing was asked" in ended.stderr


def test_what_was_not_recorded_is_an_error_that_no_config_forgives(project: Project, provider: Provider) -> None:
    writer = {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}", "on_error": "continue"}
    project.configure(agents={"writer": writer})
    project.give(2)
    assert project.run("--record", "answers.jsonl").code == 0
    project.give(3)
    ended = project.run("--overwrite", "--replay", "answers.jsonl")
    assert ended.code == 1
    failures = {name: line["agents"]["writer"]["error"] for name, line in project.by_id().items()}
    assert (failures["1"], failures["2"]) == (None, None)
    assert failures["3"]["type"] == "replay"
    assert "call 1 of writer on item 3, which was not recorded" in failures["3"]["message"]
    assert "1 call is not in it" in ended.stderr

    for change, words in (
        ({"prompt": "other {{ input.text }}"}, "(its prompt changed)"),
        ({"params": {"temperature": 1}}, "(its params changed)"),
        ({"output_schema": {"type": "object"}, "prompt": "other"}, "(its prompt and its output_schema changed)"),
    ):
        project.configure(agents={"writer": {**writer, **change}})
        assert project.run("--overwrite", "--replay", "answers.jsonl").code == 1
        message = project.by_id()["1"]["agents"]["writer"]["error"]["message"]
        assert f"which was asked something else when it was recorded {words}" in message
    assert len(provider.requests) == 2


def test_what_fails_for_want_of_a_server_is_no_part_of_a_recording(project: Project, provider: Provider) -> None:
    project.configure(model={"retries": 0})
    project.give(2)
    provider.script = lambda asked: refused("500 Oops") if asked.id == "1" else good(asked.id)
    assert project.run("--record", "answers.jsonl").code == 1
    provider.script = lambda asked: good(asked.id)
    assert project.run("--record", "answers.jsonl", "--retry-failed").code == 0
    before = outcome(project)
    assert project.run("--overwrite", "--replay", "answers.jsonl").code == 0
    assert outcome(project) == before


def test_a_file_that_is_no_recording_is_refused(project: Project) -> None:
    project.give(1)
    for content, why in (
        (None, "Record it first"),
        ("{}\n", "is no recording"),
        ('{"agentbatch_recording":1}\n5\n', ":2:"),
    ):
        if content is not None:
            (project.folder / "answers.jsonl").write_text(content)
        ended = project.run("--replay", "answers.jsonl")
        assert (ended.code, why in ended.stderr) == (2, True), ended.stderr
    assert project.run("--replay", "answers.jsonl", "--record", "b.jsonl").code == 2
    assert project.run("--record", "in.jsonl").code == 2


LOOK = '''
def look(item: str, number: int) -> str:
    """Look something up."""
    return f"seen {number}"
'''


def in_turns(asked: Asked) -> Reply:
    """A tool is called, and then there is an answer; with the key in it."""
    turns = sum(message["role"] == "assistant" for message in json.loads(asked.body)["messages"])
    if turns < 2:
        function = {"name": "look", "arguments": json.dumps({"item": asked.id, "number": turns})}
        calls = [{"id": f"c{turns}", "type": "function", "function": function}]
        return good(asked.id, text="", finish="tool_calls", tool_calls=calls)
    return good(asked.id, text=f"draw {asked.number} {' '.join(SPELLINGS)}")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_turns_tools_and_streams_replay_to_the_byte_and_no_key_is_on_the_tape(
    project: Project, provider: Provider, stream: bool
) -> None:
    """The key is sent in a header and in a query, and the provider gives it away in every spelling."""
    (project.folder / "work.py").write_text(LOOK)
    provider.script = (lambda asked: as_stream(in_turns(asked))) if stream else in_turns
    agents = {"a": {"model": "m", "kind": "react", "tools": ["look"], "prompt": "item={{ item.id }};"}}
    project.configure(
        agents=agents,
        tools={"look": {"function": "work:look"}},
        model={"base_url": "${MODEL_URL}", "extra_headers": {"x-key": "${TEST_KEY}"}, "stream": stream},
    )
    project.give(4)
    known = {"TEST_KEY": CANARY, "MODEL_URL": provider.url}
    ended = project.run("--record", "answers.jsonl", env=known)
    assert ended.code == 0, ended.stderr
    tape = (project.folder / "answers.jsonl").read_text()
    assert not [spelling for spelling in SPELLINGS if spelling in tape]
    recorded, asked = outcome(project), len(provider.requests)
    assert project.run("--overwrite", "--replay", "answers.jsonl", env={"TEST_KEY": None}).code == 0
    assert json.dumps(outcome(project), sort_keys=True) == json.dumps(recorded, sort_keys=True)
    assert len(provider.requests) == asked


def test_a_recorded_run_through_batches_replays_at_the_price_of_batches(project: Project) -> None:
    project.give(6)
    with provider_of(project.folder, errors={"bad_request": 0.3}) as url:
        use(project, "openai", url)
        assert project.run("--record", "answers.jsonl").code == 1
    recorded = outcome(project)
    assert {line["status"] for line in recorded.values()} == {"ok", "error"}
    assert project.run("--overwrite", "--replay", "answers.jsonl").code == 1
    replayed = outcome(project)
    for name, line in recorded.items():
        assert (replayed[name]["output"], replayed[name]["cost_usd"]) == (line["output"], line["cost_usd"])
