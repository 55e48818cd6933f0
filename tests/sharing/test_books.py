"""The books of shared limits, by simulated time: never too much, hardly too little, a fair share for everybody."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from agentbatch.sharing.books import LEASE_S, PlaceBook, RateBook
from agentbatch.sharing.books_file import BooksFile


def most_in_a_minute(used: list[tuple[float, float]]) -> float:
    most = total = 0.0
    first = 0
    for at, amount in sorted(used):
        total += amount
        while sorted_at(used, first) <= at - 60:
            total -= used[first][1]
            first += 1
        most = max(most, total)
    return most


def sorted_at(used: list[tuple[float, float]], place: int) -> float:
    return used[place][0]


@pytest.mark.parametrize("limit", [30, 600, 6000])
@pytest.mark.parametrize("processes", [1, 2, 5])
def test_three_processes_of_any_pace_keep_a_rate_together(limit: int, processes: int) -> None:
    draw = random.Random(3)
    book = RateBook()
    used: list[tuple[float, float]] = []
    got: Counter[str] = Counter()
    now, end = 1000.0, 1000.0 + 600
    while now < end:
        now += 0.05 / processes
        holder = f"p{draw.randrange(processes)}"
        lease = book.give(holder, limit, 50.0, 1.0, now)
        if lease is not None:
            got[holder] += int(lease.amount)
            used.append((now + draw.random() * LEASE_S, lease.amount))  # some time within it
    used.sort()
    assert most_in_a_minute(used) <= limit
    assert sum(amount for _, amount in used) >= 0.97 * limit * 600 / 60
    assert min(got.values()) >= 0.8 * max(got.values())


def test_what_was_not_used_is_there_for_others() -> None:
    book = RateBook()
    first = book.give("a", 60, 60.0, 60.0, 1000.0)
    assert first is not None
    assert first.amount == 60
    assert book.give("b", 60, 1.0, 1.0, 1030.0) is None
    book.correct(first.number, -60.0, 60)
    assert book.give("b", 60, 1.0, 1.0, 1030.0) is not None


def test_places_are_shared_fairly_and_never_given_twice() -> None:
    draw = random.Random(4)
    book = PlaceBook()
    in_use = {"a": 0, "b": 0, "c": 0}
    for step in range(3000):
        holder = draw.choice("abc")
        wanted = 20 if step < 2000 or holder != "c" else 0
        if draw.random() < 0.7:
            in_use[holder] = max(0, in_use[holder] - draw.randrange(4))
        places = book.give(holder, 12, max(wanted, in_use[holder]), in_use[holder])
        in_use[holder] = max(in_use[holder], places if wanted else 0)
        assert sum(in_use.values()) <= 12
    assert book.give("a", 12, 20, 0) <= 6


def test_one_alone_has_all_and_one_that_wants_little_does_not_cost_the_others() -> None:
    book = PlaceBook()
    assert book.give("a", 12, 50, 0) == 12
    assert book.give("b", 12, 2, 0) == 0, "all are in use"
    assert book.give("a", 12, 50, 12) == 10, "it does not fill them again"
    assert book.give("a", 12, 50, 10) == 10
    assert book.give("b", 12, 2, 0) == 2


def test_what_a_longer_page_left_behind_its_end_is_no_damage(tmp_path: Path) -> None:
    """A kill between the write and the cut must not make anybody forget what was given in the last minute."""
    path = tmp_path / "limits.shared"
    books = BooksFile(path)
    with books.changing() as open_books:
        given = open_books.rates.setdefault("r", RateBook()).give("a", 60, 5.0, 1.0, 1000.0)
    assert given is not None
    path.write_bytes(path.read_bytes() + b'"leases":[]}}}\n')
    with books.changing() as open_books:
        assert [lease.amount for lease in open_books.rates["r"].leases] == [given.amount]
