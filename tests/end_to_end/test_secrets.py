"""A key is sent to its provider and shown nowhere else, whoever tries to give it away."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused

CANARY = "sk-canary/Zq7+93=kLm20Xv8r"
SPELLINGS = [
    CANARY,
    quote(CANARY, safe=""),
    quote(CANARY),
    base64.b64encode(CANARY.encode()).decode(),
    base64.b64encode(f"user:{CANARY}".encode()).decode(),
    base64.urlsafe_b64encode(CANARY.encode()).decode(),
    json.dumps(json.dumps(CANARY))[3:-3],
]


def traitors(asked: Asked) -> Reply:
    """A provider that repeats what it was sent, in answers, errors and headers."""
    key = next(line for line in asked.head.splitlines() if line.lower().startswith("authorization")).split()[-1]
    assert key == CANARY
    said = " ".join(SPELLINGS)
    kinds = [
        good(asked.id, text=f"your key is {said}"),
        refused("400 Bad Request", "invalid", f"bad key {said}"),
        refused("500 Oops", message=f"key {said}"),
        refused("403 Forbidden", message=f"not with {said}"),
        Reply(f"<html>{said}", headers={"x-request-id": CANARY}),
        Reply("", "307 Temporary Redirect", {"location": f"http://elsewhere.invalid/?key={quote(CANARY)}"}),
        Reply(json.dumps({"error": {"message": CANARY, "type": CANARY, "code": CANARY}}), f"404 {CANARY}"),
        good(asked.id, text="", refusal=f"I won't tell {said}"),
        Reply(raw=f"GARBAGE {CANARY}\r\n\r\n".encode(), then="close"),
        good(asked.id, finish=CANARY, text=f"{{{{ {CANARY} }}}}"),
    ]
    return kinds[int(asked.id) % len(kinds)]


def check_unseen(project: Project, *texts: str | bytes) -> None:
    """None of the spellings is in any file of the folder, nor in these."""
    files = [path for path in project.folder.iterdir() if path.is_file() and path.name != "in.jsonl"]
    assert len(files) > 3
    everything = {path.name: path.read_bytes() for path in files}
    everything |= {f"text {at}": text if isinstance(text, bytes) else text.encode() for at, text in enumerate(texts)}
    for name, content in everything.items():
        for spelling in SPELLINGS:
            assert spelling.encode() not in content, f"{spelling} is in {name}"


def test_a_key_that_the_provider_gives_back_is_found_nowhere(project: Project, provider: Provider) -> None:
    project.configure(model={"retries": 0}, trace={"content": True})
    project.give(20)
    provider.script = traitors
    outputs = ("--json", "-v", "--summary", "summary.json", "--events", "events.jsonl")
    ended = project.run(*outputs, env={"TEST_KEY": CANARY})
    assert ended.code == 1, ended.stderr
    assert len(project.lines()) == 20
    check_unseen(project, ended.stdout, ended.stderr)
    assert b"[redacted]" in project.results.read_bytes()
    for line in project.results.read_bytes().splitlines():
        json.loads(line)


def test_a_key_in_every_refusal_is_not_in_the_reason_for_the_end(project: Project, provider: Provider) -> None:
    project.give(5)
    provider.script = lambda asked: refused("401 No", "invalid_api_key", f"Incorrect API key provided: {CANARY}")
    ended = project.run("--json", "--summary", "summary.json", env={"TEST_KEY": CANARY})
    assert ended.code == 3, ended.stderr
    check_unseen(project, ended.stdout, ended.stderr)


@pytest.mark.slow
def test_what_is_seen_from_outside_holds_no_key(project: Project, provider: Provider) -> None:
    """The process list, and the files, while the run goes on."""
    project.give(4)
    provider.script = lambda asked: Reply(raw=b"", then="hang")
    with project.start(env={"TEST_KEY": CANARY}) as run:
        provider.wait_for(4)
        with open(f"/proc/{run.pid}/cmdline", "rb") as command:
            check_unseen(project, command.read())


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_looking_at_a_config_shows_no_key(project: Project, verb: str) -> None:
    project.give(2)
    (project.folder / ".env").write_text(f"IN_FILE={CANARY}\n")
    project.configure(
        model={"extra_headers": {"x-api-key": "${IN_FILE}"}, "max_concurrency": "${TEST_KEY}"}, trace={"content": True}
    )
    with project.start_verb(verb, "config.yaml", env={"TEST_KEY": CANARY}) as run:
        ended = run.end()
    assert ended.code == 2, "a key is no number"
    (project.folder / ".env").unlink()
    for spelling in SPELLINGS:
        assert spelling not in ended.stderr
        assert spelling.encode() not in ended.stdout


@pytest.mark.slow
def test_a_key_written_into_the_config_is_refused_and_not_shown(project: Project, provider: Provider) -> None:
    project.configure(model={"api_key": CANARY})
    project.give(2)
    ended = project.run("-v", "--json")
    assert ended.code == 2
    assert "a key does not belong in the config" in ended.stderr
    assert not provider.requests
    for spelling in SPELLINGS:
        assert spelling not in ended.stderr


def test_a_password_in_a_url_is_refused_and_not_shown(project: Project, provider: Provider) -> None:
    project.configure(model={"base_url": f"http://user:{CANARY}@127.0.0.1:9/v1"})
    project.give(2)
    ended = project.run("-v", "--json")
    assert ended.code == 2
    assert "models.m.base_url" in ended.stderr
    assert not provider.requests
    for spelling in SPELLINGS:
        assert spelling not in ended.stderr
