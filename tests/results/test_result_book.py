"""How much of what is paid may wait for the disk."""

from __future__ import annotations

import threading
from collections.abc import Awaitable

import pytest

from agentbatch.process.control import Control
from agentbatch.results.book import BookOptions, ResultBook
from agentbatch.results.finished import FinishedItem
from agentbatch.results.header import new_header

HANG_S = 30


def ended(index: int) -> FinishedItem:
    return FinishedItem(str(index), index, "ok", None, 1, False, {}, (), b"{}\n")


@pytest.mark.parametrize(("in_flight", "most"), [(8, 64), (500, 500), (100_000, 2000)])
async def test_behind_a_disk_that_stands_still_no_more_waits_than_is_in_flight(in_flight: int, most: int) -> None:
    """Beyond that whoever brings a result has to wait, so that no more is paid than a crash may lose."""
    moves_on = threading.Event()

    def stand_still(lines: bytes) -> None:
        assert moves_on.wait(HANG_S)

    options = BookOptions(files=None, to_stdout=False, hear=stand_still)
    with ResultBook(options, new_header({}, None), Control()) as book:
        book.bound_waiting(in_flight)
        waits: list[Awaitable[None]] = []
        put = 0
        while not waits:
            told_to_wait = book.commit(ended(put))
            put += 1
            if told_to_wait is not None:
                waits.append(told_to_wait)
        assert put == most + 1
        moves_on.set()
        await waits[0]
