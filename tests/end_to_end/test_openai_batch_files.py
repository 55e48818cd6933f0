"""Files in the shape of OpenAI's Batch API, in and out: every request is sent as it is, and a run is a run."""

from __future__ import annotations

import json
from typing import Any

from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused, token

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


def test_requests_are_for_those_who_speak_the_dialect(project: Project) -> None:
    only_a_model(project, provider="anthropic", base_url="http://127.0.0.1:1")
    project.give(requests(1))
    ended = project.run(*BATCH)
    assert (ended.code, "name a model of provider openai" in ended.stderr) == (2, True), ended.stderr
