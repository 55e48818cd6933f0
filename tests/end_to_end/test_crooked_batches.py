"""Whatever a provider's batch API does wrong, and whenever the run is killed: nothing submitted twice, nothing lost."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from end_to_end.crooked_batches import CrookedBatches, serving
from end_to_end.project import Project

PATIENCE_S = 60.0


def use(project: Project, url: str) -> None:
    settings = {"poll_every": "200ms", "gather": "1s"}
    project.configure(model={"base_url": url, "provider_batch": settings, "max_concurrency": 64, "retries": 3})


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
@pytest.mark.parametrize("step", ["POST files", "POST batches", "GET batches", "GET files"])
@pytest.mark.parametrize("lost", [0, 1], ids=["heard", "not heard"])
def test_killed_at_each_step_it_goes_on_where_it_was(project: Project, step: str, lost: int) -> None:
    project.give(12)
    batches = CrookedBatches()
    reached, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == step and not go_on.is_set():
            reached.set()
            go_on.wait(PATIENCE_S)

    batches.step, batches.lose = hold, lost
    with serving(batches) as url:
        use(project, url)
        with project.start() as running:
            assert reached.wait(PATIENCE_S)
            running.kill()
        go_on.set()
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project, 12)
    assert set(batches.submitted.values()) == {1}, "each request was paid once"
    assert len(batches.batches) == 1
