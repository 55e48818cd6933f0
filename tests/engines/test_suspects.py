"""Items that end the process they are in: each is given up alone, and takes nobody along."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines_ray_project import RayProject

from agentbatch.engines.ray.suspects import MOST_DEATHS, Suspects
from agentbatch.items import Item

MODULE = """\
import os

def end(input):
    if input["n"] in (33, 90):
        os._exit(1)
    return input["n"]
"""
CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 50ms, max_concurrency: 40}}
agents:
  a: {model: m, prompt: "hi {{ input.n }}"}
  f: {kind: function, function: "mine:end"}
workflow: [a, f]
"""


def items(*numbers: int) -> list[Item]:
    return [Item(str(n), n, {}, n + 1) for n in numbers]


def test_one_death_is_chance():
    suspects = Suspects()
    crowd = items(*range(100))
    assert suspects.after_death(crowd) == (crowd, [])
    assert not suspects


def test_whoever_is_there_each_time_is_given_up_and_the_others_come_to_their_ends():
    suspects, left, given_up, deaths = Suspects(), items(*range(100)), list[Item](), 0
    guilty = {17, 60}
    while left or suspects:
        dealt = left or suspects.next(64)
        left = []
        if guilty & {item.index for item in dealt}:
            deaths += 1
            left, gone = suspects.after_death(dealt)
            given_up += gone
        else:
            for item in dealt:
                suspects.cleared(item.index)
    assert {item.index for item in given_up} == guilty
    assert deaths == 2 + 2 * 2  # twice in the crowd, then each among few, and alone


def test_no_more_at_once_than_the_run_allows():
    suspects = Suspects()
    for _ in range(2):
        suspects.after_death(items(*range(20)))
    assert len(suspects.next(3)) == 3
    assert len(suspects.next(64)) == 8


@pytest.mark.slow
def test_items_that_end_their_process_fail_and_no_other_does(tmp_path: Path):
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    project = RayProject(tmp_path, CONFIG)
    (tmp_path / "mine.py").write_text(MODULE)
    project.write(200)
    code, said = project.run("--workers", "2")
    assert code == 1, said
    lines = project.results()
    assert [line["index"] for line in lines] == list(range(200))
    failed = [line for line in lines if line["status"] != "ok"]
    assert [line["index"] for line in failed] == [33, 90]
    for line in failed:
        assert line["error"]["type"] == "function"
        assert (
            f"died {MOST_DEATHS} times while it had this item, the last time this item alone"
            in line["error"]["message"]
        )
