"""Whatever a provider's batch API does wrong, and whenever the run is killed: nothing submitted twice, nothing lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from end_to_end.cases import cases
from end_to_end.crooked_batches import CrookedBatches, serving
from end_to_end.crooked_message_batches import CrookedMessageBatches, whole
from end_to_end.project import Project

PATIENCE_S = 60.0


def use(project: Project, url: str, **model: Any) -> None:
    settings = {"poll_every": "200ms", "gather": "1h", **model.pop("batch", {})}
    project.configure(model={"base_url": url, "provider_batch": settings, "max_concurrency": 64, "retries": 3, **model})


def use_messages(project: Project, url: str, **model: Any) -> None:
    use(project, url.removesuffix("/v1"), provider="anthropic", **model)


def check_answers(project: Project, items: int) -> None:
    lines = project.lines()
    assert Counter(line["index"] for line in lines) == Counter(range(items)), "one line for each"
    for line in lines:
        assert line["output"] == f"item={line['id']};text {line['index']}", line


def damage(number: int, lines: list[bytes]) -> tuple[bytes, bytes, int]:
    """The first time lines are missing, doubled, of nobody, torn, and some stand in the file of errors."""
    if number:
        return b"\n".join(lines) + b"\n", b"", 0
    stranger = json.dumps({**json.loads(lines[0]), "custom_id": "somebody-elses"}).encode()
    doubled = lines[3].replace(b"item=", b"another answer to item=")
    output = [stranger, *lines[:8], doubled, lines[8][:40], b'{"response": {}}', *lines[10:]]
    return b"\n".join(output), lines[9] + b"\n", 60


def test_damaged_results_are_read_as_far_as_they_go_and_the_rest_is_asked_again(project: Project) -> None:
    project.give(20)
    batches = CrookedBatches()
    batches.damage, batches.lose, batches.polls = damage, 1, [500, 429, 503]
    with serving(batches) as url:
        use(project, url)
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project, 20)
    assert sorted(batches.submitted.values()) == [1] * 19 + [2], "only the torn one went out again"


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503, 529])
def test_between_two_looks_there_is_the_wait_that_was_asked_for(project: Project, status: int) -> None:
    project.give(3)
    batches = CrookedBatches()
    batches.polls, batches.rest_s = [status, status], 2
    with serving(batches) as url:
        use(project, url)
        ended = project.run()
    assert ended.code == 0, ended.stderr
    gaps = [later - earlier for earlier, later in pairwise(batches.looks)]
    assert len(gaps) == 2
    assert min(gaps) >= 1.95, gaps


@pytest.mark.parametrize("suffix", cases(["", "-wal"], "-wal"))
def test_records_that_somebody_deletes_stop_the_run(project: Project, suffix: str) -> None:
    """A crash after that would pay for the whole batch again; nothing says so later."""
    project.give(3)
    batches = CrookedBatches()
    batches.polls = [503]

    def clean_up(name: str) -> None:
        if name == "GET batches":
            (project.folder / f"in.results.batches.sqlite{suffix}").unlink(missing_ok=True)

    batches.step = clean_up
    with serving(batches) as url:
        use(project, url)
        ended = project.run()
    assert ended.code == 74, ended.stderr
    assert "was deleted during the run" in ended.stderr
    assert "Traceback" not in ended.stderr


def kill_and_go_on(
    project: Project,
    batches: CrookedBatches | CrookedMessageBatches,
    step: str,
    tell: Callable[[str], None],
) -> None:
    """Twelve items, killed while the server works on a step. `tell` writes the config for a base URL."""
    project.give(12)
    reached, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == step and not go_on.is_set():
            reached.set()
            go_on.wait(PATIENCE_S)

    batches.step = hold
    with serving(batches) as url:
        tell(url)
        with project.start() as running:
            assert reached.wait(PATIENCE_S)
            running.kill()
        go_on.set()
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project, 12)
    assert set(batches.submitted.values()) == {1}, "each request was paid once"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["POST files", "POST batches", "GET batches", "GET files"])
@pytest.mark.parametrize("lost", [0, 1], ids=["heard", "not heard"])
def test_killed_at_each_step_it_goes_on_where_it_was(project: Project, step: str, lost: int) -> None:
    batches = CrookedBatches()
    batches.lose = lost
    kill_and_go_on(project, batches, step, partial(use, project))
    assert len(batches.batches) == 1


BUSY = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
ERRORS = {
    "errored": {
        "type": "errored",
        "error": {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    },
    "expired": {"type": "expired"},
    "canceled": {"type": "canceled"},
    "nameless": {"type": "something new"},
    "empty": {"type": "succeeded"},
}


def damaged(number: int, results: list[dict[str, Any]]) -> tuple[bytes, int]:
    """The first time lines are of nobody, doubled, failed in every way, torn, missing, and out of order."""
    if number:
        return whole(number, results[::-1])
    failed = [{**result, "result": error} for result, error in zip(results[10:], ERRORS.values(), strict=False)]
    doubled = json.loads(json.dumps(results[3]).replace("item=", "another answer to item="))
    stranger = {**results[0], "custom_id": "somebody-elses"}
    sent = [stranger, *results[:8], doubled, *failed, *results[16:]]
    torn = json.dumps(results[8]).encode()[:60]
    return b"\n".join([*(json.dumps(each).encode() for each in reversed(sent[1:9])), *_lines(sent), torn]), 300


def _lines(results: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(each).encode() for each in results] + [b'{"result": {}}', b"null"]


def test_damaged_message_batches_are_read_as_far_as_they_go(project: Project) -> None:
    """Torn: 8. Missing: 9, 15. Failed for a time: 10 to 14."""
    project.give(20)
    batches = CrookedMessageBatches()
    batches.damage, batches.lose, batches.polls, batches.missing = damaged, 1, [500, 429, 529], 2
    with serving(batches) as url:
        use_messages(project, url)
        ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    check_answers(project, 20)
    assert sorted(batches.submitted.values()) == [1] * 12 + [2] * 8
    assert ended.summary["possibly_billed"] == 3, "those whose lines are not there may have been answered"


def test_what_message_batches_decline_for_good_fails_its_items_only(project: Project) -> None:
    project.give(10)
    refused = {"type": "error", "error": {"type": "invalid_request_error", "message": "not that"}}

    def some(number: int, results: list[dict[str, Any]]) -> tuple[bytes, int]:
        error = {"type": "errored", "error": refused}
        return whole(number, [result | ({"result": error} if n % 2 else {}) for n, result in enumerate(results)])

    batches = CrookedMessageBatches()
    batches.damage = some
    with serving(batches) as url:
        use_messages(project, url)
        assert project.run().code == 1
        failed = [line for line in project.lines() if line["status"] == "error"]
        assert {line["error"]["type"] for line in failed} == {"bad_request"}
        assert len(failed) == 5
        batches.damage = whole
        assert project.run("--retry-failed").code == 0
    assert sorted(batches.submitted.values()) == [1] * 5 + [2] * 5


@pytest.mark.slow
def test_batches_of_one_size_whose_answers_are_lost_are_told_apart(project: Project) -> None:
    """Anthropic's have no name of ours: of those on their way at once nobody could tell which is which."""
    project.give(40)
    batches = CrookedMessageBatches()
    batches.lose, batches.refuse = 3, [429, 500]
    with serving(batches) as url:
        use_messages(project, url, batch={"max_requests": 5})
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project, 40)
    assert (len(batches.batches), set(batches.submitted.values())) == (8, {1})


@pytest.mark.slow
@pytest.mark.parametrize("step", ["POST batches", "GET batches", "GET results"])
@pytest.mark.parametrize("lost", [0, 1], ids=["heard", "not heard"])
def test_killed_at_each_step_of_message_batches_it_goes_on(project: Project, step: str, lost: int) -> None:
    batches = CrookedMessageBatches()
    batches.lose = lost
    kill_and_go_on(project, batches, step, partial(use_messages, project, batch={"max_requests": 4}))
