"""Files in the shape of OpenAI's Batch API, in and out: every request is sent as it is, and a run is a run."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused, token
from end_to_end.test_provider_batches import provider_of
from jsonschema import validate

BATCH = ("--input-format", "openai-batch", "--output-format", "openai-batch")


def requests(count: int) -> list[dict[str, Any]]:
    """So many requests with what no agent of ours would send in them."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    return [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "another",
                "messages": [{"role": "user", "content": [{"type": "text", "text": f"item=r{number};"}, picture]}],
                "logprobs": True,
            },
        }
        for number in range(count)
    ]


def only_a_model(project: Project, **model: Any) -> None:
    project.configure(model=model)
    del project.config["agents"]
    (project.folder / "config.yaml").write_text(json.dumps(project.config))


def test_bodies_are_sent_as_they_are_and_answers_come_back_whole(project: Project, provider: Provider) -> None:
    only_a_model(project)
    asked = requests(5)
    project.give(asked)
    assert project.run(*BATCH).code == 0
    assert sorted((json.loads(each.body) for each in provider.requests), key=str) == sorted(
        ({**each["body"], "model": "test-model"} for each in asked), key=str
    )
    lines = {line["custom_id"]: line for line in project.lines()}
    assert lines.keys() == {each["custom_id"] for each in asked}
    for name, line in lines.items():
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        assert line["response"]["body"]["id"] == f"chatcmpl-{name}", "the provider's own body"
        assert line["response"]["body"]["choices"][0]["message"]["content"] == token(name)


def test_a_run_of_requests_continues_and_tries_again_like_any_other(project: Project, provider: Provider) -> None:
    only_a_model(project, retries=0)
    project.give(requests(4))

    def script(asked: Asked) -> Reply:
        return refused("400 Bad Request", "invalid", "not that") if asked.id == "r2" else good(asked.id)

    provider.script = script
    assert project.run(*BATCH, "--limit", "2").code == 0
    assert project.run(*BATCH).code == 1
    failed = project.by_id()["r2"]
    assert failed["response"]["status_code"] == 400
    assert failed["error"]["code"] == "bad_request"
    assert provider.counts == {f"r{number}": 1 for number in range(4)}
    provider.script = lambda asked: good(asked.id)
    assert project.run(*BATCH, "--retry-failed").code == 0
    assert provider.counts["r2"] == 2
    ended = project.run("--input-format", "openai-batch")
    assert (ended.code, "--output-format was removed" in ended.stderr) == (2, True)


def test_any_workflow_reads_and_writes_them(project: Project) -> None:
    project.configure(agents={"writer": {"model": "m", "prompt": "{{ input.body.messages[0].content[0].text }}"}})
    project.give(requests(2))
    assert project.run(*BATCH).code == 0
    line = project.by_id()["r1"]
    body = line["response"]["body"]
    assert body["choices"][0]["message"]["content"] == token("r1")
    assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    for verb in (("results", "stats"), ("report",), ("results", "export")):
        with project.start_verb(*verb, "in.results.jsonl") as running:
            assert running.end().code == 0, verb


def test_lines_that_are_no_requests_become_error_lines(project: Project) -> None:
    only_a_model(project)
    good_one = requests(1)[0]
    wrong = [
        {**good_one, "custom_id": 5},
        {**good_one, "custom_id": "b", "url": "/v1/embeddings"},
        {**good_one, "custom_id": "c", "body": "text"},
        {**good_one, "custom_id": "d", "body": {"model": "x"}},
        7,
        good_one,
    ]
    project.give([good_one, *wrong])
    assert project.run(*BATCH).code == 1
    errors = [line["error"] for line in sorted(project.lines(), key=lambda line: line["index"])]
    assert errors[0] is None
    assert [error["code"] for error in errors[1:]] == ["input"] * 6
    words = ["custom_id", "/v1/chat/completions", "body", "no messages", "no request", "used in line 1"]
    assert all(word in error["message"] for word, error in zip(words, errors[1:], strict=True))
    names = [line["custom_id"] for line in sorted(project.lines(), key=lambda line: line["index"])]
    assert names == ["r0", "2", "b", "c", "d", "6", "r0#7"]


def test_requests_are_for_those_who_speak_the_dialect(project: Project) -> None:
    only_a_model(project, provider="anthropic", base_url="http://127.0.0.1:1")
    project.give(requests(1))
    ended = project.run(*BATCH)
    assert (ended.code, "name a model of provider openai" in ended.stderr) == (2, True), ended.stderr


TEXT = {"type": "string"}
RESPONSE = {
    "type": "object",
    "required": ["status_code", "request_id", "body"],
    "properties": {"status_code": {"type": "integer"}, "request_id": TEXT, "body": {"type": "object"}},
}
ERROR = {"type": "object", "required": ["code", "message"], "properties": {"code": TEXT, "message": TEXT}}
LINE = {
    "type": "object",
    "required": ["id", "custom_id", "response", "error"],
    "properties": {
        "id": TEXT,
        "custom_id": TEXT,
        "response": {"anyOf": [{"type": "null"}, RESPONSE]},
        "error": {"anyOf": [{"type": "null"}, ERROR]},
    },
    "anyOf": [{"properties": {"response": RESPONSE}}, {"properties": {"error": ERROR}}],
}
"""What the Batch API says of a line of its output, and what vLLM's run-batch writes: strings for ids, an answer or a
refusal with its status, an error where there was no answer."""

CHOICE = {
    "type": "object",
    "required": ["index", "message", "finish_reason"],
    "properties": {"index": {"type": "integer"}, "message": {"type": "object", "required": ["role", "content"]}},
}
COMPLETION = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": TEXT,
        "choices": {"type": "array", "minItems": 1, "items": CHOICE},
        "usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"]},
    },
}
REFUSAL = {"type": "object", "required": ["error"], "properties": {"error": {"required": ["message", "type", "code"]}}}


def check_shape(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        validate(line, LINE)
        if line["response"] is not None:
            validate(line["response"]["body"], COMPLETION if line["response"]["status_code"] == 200 else REFUSAL)


def bodies(project: Project) -> dict[str, Any]:
    """What came back, without what is different each time."""
    return {line["custom_id"]: line["response"]["body"]["choices"] for line in project.lines() if line["error"] is None}


@pytest.mark.slow
def test_one_file_runs_live_in_a_batch_of_ours_and_in_one_of_its_own(project: Project) -> None:
    """The file as it is, uploaded by hand, has the same lines as the runs here."""
    asked = [{**each, "body": {**each["body"], "model": "test-model"}} for each in requests(8)]
    project.give(asked)
    with provider_of(project.folder, errors={"bad_request": 0.5}) as url:
        outcomes: list[dict[str, Any]] = []
        for batch in (False, {"poll_every": "200ms"}):
            only_a_model(project, base_url=f"{url}/v1", provider_batch=batch, retries=0)
            assert project.run(*BATCH, "--overwrite").code == 1
            check_shape(project.lines())
            outcomes.append(bodies(project))
        lines = run_by_hand(f"{url}/v1", project.inputs.read_bytes())
        check_shape(lines)
        by_hand = {each["custom_id"]: each["response"] for each in lines}
    assert 0 < len(outcomes[0]) < 8
    succeeded = {name: said["body"]["choices"] for name, said in by_hand.items() if said["status_code"] == 200}
    assert outcomes[0].keys() | outcomes[1].keys() | succeeded.keys() <= {each["custom_id"] for each in asked}
    for outcome in (*outcomes, succeeded):
        assert all(choices[0]["message"]["content"].startswith(f"item={name};") for name, choices in outcome.items())


def run_by_hand(url: str, content: bytes) -> list[dict[str, Any]]:
    """What a batch of this file has for output, asked for with nothing but HTTP."""

    def ask(path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(url + path, data, {"content-type": kind, "authorization": "Bearer x"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    field = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    form = field % (b"purpose", b"", b"batch") + field % (b"file", b'; filename="f.jsonl"', content) + b"--b--\r\n"
    file = json.loads(ask("/files", form, "multipart/form-data; boundary=b"))["id"]
    wanted = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = json.loads(ask("/batches", json.dumps(wanted).encode()))["id"]
    until = time.monotonic() + 60
    while (state := json.loads(ask(f"/batches/{batch}")))["status"] != "completed":
        assert time.monotonic() < until, state
        time.sleep(0.05)
    return [json.loads(line) for line in ask(f"/files/{state['output_file_id']}/content").splitlines()]


def test_every_end_of_an_item_has_the_shape(project: Project, provider: Provider) -> None:
    """An answer, a refusal, no answer at all, no request, and ids that are numbers."""

    def script(asked: Asked) -> Reply:
        if asked.id == "2":
            return refused("400 Bad Request", "invalid", "not that")
        return replace(good(asked.id), then="reset", raw=b"") if asked.id == "3" else good(asked.id)

    provider.script = script
    project.configure(model={"retries": 0})
    project.give([*({"id": number, "text": "x"} for number in (1, 2, 3)), 7, {"id": "last", "text": "x"}])
    assert project.run("--output-format", "openai-batch").code == 1
    lines = sorted(project.lines(), key=lambda line: line["index"])
    check_shape(lines)
    ends = [(line["custom_id"], (line["response"] or {}).get("status_code"), line["error"] is None) for line in lines]
    assert ends == [("1", 200, True), ("2", 400, False), ("3", None, False), ("4", None, False), ("last", 200, True)]
    provider.script = lambda asked: good(asked.id)
    assert project.run("--output-format", "openai-batch", "--retry-failed").code == 1
    assert provider.counts == {"1": 1, "2": 2, "3": 2, "last": 1}
