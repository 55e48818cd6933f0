"""Who works, and what is said where nobody does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from workflow import config_of

from agentbatch.engines.ray.cluster import Node, Remote, WorkerGone
from agentbatch.engines.ray.crew import Crew
from agentbatch.engines.ray.link import Link
from agentbatch.placement import Placement

BOX = Placement((("disk", "ssd"),), ())
NODE = Node("n", "10.0.0.1", "n", 2.0, {"disk": "ssd"}, {}, False)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([], "no worker could start within"),
        ([BOX], "no worker could start within"),
        ([BOX, None], "every worker is lost, and no other could start within"),
    ],
)
def test_why_no_worker_has_items(tmp_path: Path, there: list[Placement | None], words: str):
    nobody = cast("Any", None)
    config = config_of(tmp_path, {"first": {}}, workflow=["first"])
    crew = Crew(config, nobody, nobody, {"second": BOX}, ("", b""), lambda: None)
    crew.links = [Link(str(n), NODE, Remote(nobody), 4, 0, 5.0, each) for n, each in enumerate(there)]
    assert crew._nobody_for(None).startswith(words)  # pyright: ignore[reportPrivateUsage]


def test_where_to_look_for_what_keeps_workers_from_starting(tmp_path: Path):
    nobody = cast("Any", None)
    config = config_of(tmp_path, {"first": {}}, workflow=["first"])
    crew = Crew(config, nobody, nobody, {}, ("", b""), lambda: None)
    assert "`ray status` shows" in crew._nobody_for(None)  # pyright: ignore[reportPrivateUsage]
    crew._why = "node n: The actor died unexpectedly"  # pyright: ignore[reportPrivateUsage]
    said = crew._nobody_for(None)  # pyright: ignore[reportPrivateUsage]
    assert "(node n: The actor died unexpectedly): see /tmp/ray/session_latest/logs on that node" in said


async def test_the_bank_hears_who_is_not_given_up(tmp_path: Path):
    class FakeBank:
        told: tuple[object, ...] = ()

        async def call(self, *said: object, timeout: float) -> None:
            self.told = said

    nobody = cast("Any", None)
    crew = Crew(config_of(tmp_path, {"first": {}}, workflow=["first"]), nobody, nobody, {}, ("", b""), lambda: None)
    bank = crew._bank = cast("Any", FakeBank())  # pyright: ignore[reportPrivateUsage]
    crew._places = {"w1": (None, "n"), "w2": (BOX, "n")}  # pyright: ignore[reportPrivateUsage]
    crew._forget("w1")  # pyright: ignore[reportPrivateUsage]
    assert await crew._see_to_bank()  # pyright: ignore[reportPrivateUsage]
    assert bank.told == ("vouch", frozenset({"w2"}))


async def test_a_lost_bank_is_followed_by_one_that_has_what_is_left_when_all_who_borrowed_have_ended(tmp_path: Path):
    class DeadBank:
        async def call(self, *_: object, timeout: float) -> None:
            raise WorkerGone("killed")

    class FakeCluster:
        banks: tuple[tuple[float | None, bool], ...] = ()

        async def apart(self, start: Callable[[], object]) -> object:
            return start()

        def start_bank(self, ttl_s: float, budget: float | None, follows: bool) -> str:
            self.banks += ((budget, follows),)
            return "another"

    nobody = cast("Any", None)
    left = [10.0]
    cluster = FakeCluster()
    config = config_of(tmp_path, {"first": {}}, workflow=["first"])
    crew = Crew(config, cast("Any", cluster), nobody, {}, ("", b""), lambda: left[0])
    crew._bank = cast("Any", DeadBank())  # pyright: ignore[reportPrivateUsage]
    crew.links = [Link("w1", NODE, Remote(nobody), 4, 0, 5.0)]
    assert not await crew._see_to_bank()  # pyright: ignore[reportPrivateUsage]
    assert cluster.banks == ()
    left[0] = 4.0
    crew.links[0].state = "lost"
    assert await crew._see_to_bank()  # pyright: ignore[reportPrivateUsage]
    assert cluster.banks == ((4.0, True),)
