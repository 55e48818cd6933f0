"""Batches at servers that other people wrote, through a proxy that gets in the way: aimock (`llmock` in PATH) for
OpenAI's, mock-ai-api (`MOCK_AI_API`: a folder with it and what it needs) for Anthropic's."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.fault_proxy import Change, Fault, FaultProxy
from end_to_end.project import Project
from end_to_end.rude_http import answering
from end_to_end.test_real_servers import free_port, serving

pytestmark = pytest.mark.slow

ITEMS = 12
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("llmock") or pytest.skip("needs llmock (npm: @copilotkit/aimock) in PATH")
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures").mkdir()
    fixture = {"match": {"userMessage": "item="}, "response": {"content": "asked the ordinary way"}}
    (folder / "fixtures" / "all.json").write_text(json.dumps({"fixtures": [fixture]}))
    port = free_port()
    with serving([program, "-p", str(port), "-f", "fixtures", "--log-level", "warn"], port, folder) as origin:
        yield origin


@pytest.fixture(scope="module")
def mock_ai_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = os.environ.get("MOCK_AI_API") or pytest.skip("needs MOCK_AI_API (pip install --target: mock-ai-api)")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app.anthropic_app:app", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, port, tmp_path_factory.mktemp("api"), PYTHONPATH=place) as origin:
        yield origin


def proxy_of(origin: str, dialect: str) -> FaultProxy:
    """A proxy that makes every answer of a batch say what was asked: the server's are all the same."""
    proxy = FaultProxy(origin)
    proxy.change = lambda body: b"".join(echoing(proxy, line) + b"\n" for line in body.splitlines())
    if dialect == "anthropic":

        def work(step: str, path: str) -> None:
            """Its batches end only when somebody fetches the results: here at the second look."""
            if step == "look" and proxy.steps["look"] > 1:
                proxy.forward("GET", f"{path}/results", {"x-api-key": "x"}, b"")

        proxy.ahead = work
    return proxy


def echoing(proxy: FaultProxy, line: bytes) -> bytes:
    fields = json.loads(line)
    says = proxy.said[fields["custom_id"]]
    if "result" in fields:
        fields["result"]["message"]["content"][0]["text"] = says
    elif fields["response"] is not None:
        fields["response"]["body"]["choices"][0]["message"]["content"] = says
    return json.dumps(fields).encode()


def use(project: Project, dialect: str, origin: str, **batch: Any) -> None:
    base = origin if dialect == "anthropic" else f"{origin}/v1"
    settings = {"poll_every": "200ms", "gather": "1h", **batch}
    project.configure(
        model={"provider": dialect, "base_url": base, "provider_batch": settings, "max_concurrency": 64, "retries": 3}
    )


def check(project: Project) -> None:
    lines = project.lines()
    assert Counter(line["index"] for line in lines) == Counter(range(ITEMS)), "one line for each"
    for line in lines:
        assert line["output"] == f"item={line['id']};text {line['index']}", line


def lines_of(body: bytes) -> list[bytes]:
    return body.splitlines(keepends=True)


def stranger(line: bytes) -> bytes:
    return json.dumps({**json.loads(line), "custom_id": "somebody-elses"}).encode() + b"\n"


RESULTS: dict[str, tuple[Change, int]] = {
    "torn": (lambda body: body[:-200], 1),
    "out of order": (lambda body: b"".join(reversed(lines_of(body))), 0),
    "doubled": (lambda body: body + body, 0),
    "with a stranger": (lambda body: stranger(lines_of(body)[0]) + body, 0),
    "missing": (lambda body: b"".join(lines_of(body)[2:]), 2),
    "empty": (lambda body: b"", ITEMS),
    "garbage": (lambda body: b"\xff\xfe\0{{" + body, 1),
}
"""How results are damaged whenever they are read, and how many requests then have no answer in them."""

STEPS: dict[str, list[Fault | None]] = {
    "upload": [429, 500, "reset", "lost"],
    "create": [429, 500, "reset", "lost"],
    "look": [500, 429, 404, "reset", "cut", 503],
    "content": [500, 404, "reset", "cut"],
}

DIALECTS = [("openai", step) for step in STEPS] + [("anthropic", step) for step in STEPS if step != "upload"]


@pytest.fixture
def origin(request: pytest.FixtureRequest, dialect: str) -> str:
    return request.getfixturevalue("aimock" if dialect == "openai" else "mock_ai_api")


@pytest.mark.parametrize(("dialect", "step"), DIALECTS)
def test_whatever_fails_for_a_time_every_request_is_in_one_batch(
    tmp_path: Path, origin: str, dialect: str, step: str
) -> None:
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(origin, dialect)
    proxy.faults[step] = list(STEPS[step])
    with answering(proxy.serve) as url:
        use(project, dialect, url)
        ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not proxy.faults[step], "all of them happened"
    check(project)
    assert set(proxy.asked.values()) == {1}, ended.stderr


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("how", RESULTS)
def test_damaged_results_are_read_as_far_as_they_go(tmp_path: Path, origin: str, dialect: str, how: str) -> None:
    project = Project(tmp_path, "")
    project.give(ITEMS)
    damage, lost = RESULTS[how]
    proxy = proxy_of(origin, dialect)
    proxy.faults["content"] = [damage] * (3 if how in ("torn", "garbage") else 1)
    with answering(proxy.serve) as url:
        use(project, dialect, url)
        ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    check(project)
    assert Counter(proxy.asked.values()) == +Counter({1: ITEMS - lost, 2: lost}), ended.stderr
    assert ended.summary["possibly_billed"] == lost


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("step", ["upload", "create", "look", "content"])
def test_killed_at_each_step_it_goes_on(tmp_path: Path, origin: str, dialect: str, step: str) -> None:
    if dialect == "anthropic" and step == "upload":
        pytest.skip("nothing is uploaded")
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(origin, dialect)
    there, go_on = threading.Event(), threading.Event()

    def hold(reached: str) -> None:
        if reached == step and not go_on.is_set():
            there.set()
            go_on.wait(PATIENCE_S)

    proxy.reached = hold
    with answering(proxy.serve) as url:
        use(project, dialect, url)
        with project.start() as running:
            assert there.wait(PATIENCE_S)
            running.kill()
        go_on.set()
        ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    check(project)
    assert (proxy.batches, set(proxy.asked.values())) == (1, {1})
    assert ended.summary["audit"]["paid_twice"]["calls"] == 0


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
@pytest.mark.parametrize("on_expired", ["retry", "online"])
def test_a_batch_that_ends_without_answers(tmp_path: Path, aimock: str, outcome: str, on_expired: str) -> None:
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(aimock, "openai")
    proxy.headers["create"] = [{"x-aimock-batch-outcome": outcome}]
    with answering(proxy.serve) as url:
        use(project, "openai", url, on_expired=on_expired)
        ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    if on_expired == "retry":
        check(project)
    else:
        assert {line["output"] for line in project.lines()} == {"asked the ordinary way"}
    assert set(proxy.asked.values()) == {2 if on_expired == "retry" else 1}
    assert ended.summary["possibly_billed"] == 0, "it says that it answered none of them"


def test_a_batch_that_fails_says_why_and_its_items_can_be_tried_again(tmp_path: Path, aimock: str) -> None:
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(aimock, "openai")
    proxy.headers["create"] = [{"x-aimock-batch-outcome": "failed"}]
    with answering(proxy.serve) as url:
        use(project, "openai", url)
        ended = project.run()
        assert ended.code in (1, 3), ended.stderr
        assert "Mock batch failure" in ended.stderr
        ended = project.run("--retry-failed")
    assert ended.code == 0, ended.stderr
    assert {name: line["output"] for name, line in project.by_id().items()} == {
        str(n + 1): f"item={n + 1};text {n}" for n in range(ITEMS)
    }


def test_the_output_file_is_gone(tmp_path: Path, aimock: str) -> None:
    """Whoever deleted it: what stood in it is asked again, and may be billed twice, which the summary says."""
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(aimock, "openai")
    proxy.faults["content"] = [404] * 3
    with answering(proxy.serve) as url:
        use(project, "openai", url)
        ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    check(project)
    assert set(proxy.asked.values()) == {2}
    assert ended.summary["possibly_billed"] == ITEMS


def test_what_is_declined_for_good_fails_its_items_and_leaves_no_file_behind(tmp_path: Path, aimock: str) -> None:
    project = Project(tmp_path, "")
    project.give(ITEMS)
    proxy = proxy_of(aimock, "openai")
    proxy.faults["create"] = [400]
    with answering(proxy.serve) as url:
        use(project, "openai", url)
        ended = project.run("--set", "limits.breaker.same_error=0")
        assert ended.code == 1, ended.stderr
        assert (proxy.batches, proxy.steps["delete"]) == (0, 1)
        assert {line["error"]["http_status"] for line in project.lines()} == {400}
        assert project.run("--retry-failed").code == 0
    assert set(proxy.asked.values()) == {1}
