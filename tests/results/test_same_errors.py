"""Failures that are about the run, told from those that are about an item."""

from __future__ import annotations

from agentbatch.items import Failure, Item, ItemResult, Result
from agentbatch.results.finished import FinishedItem, Finishing
from agentbatch.results.same_errors import SameErrors
from agentbatch.text.redact import Redactor

FINISHED = Finishing(frozenset(), Redactor(()))


def failed(index: int, message: str = "no such parameter: foo (request req_8{}f)", **more: object) -> FinishedItem:
    error = Failure(
        **{"type": "bad_request", "agent": "writer", "http_status": 400, "message": message.format(index)} | more
    )
    return FINISHED(ItemResult(Item(str(index), index, {}), "t", 0, Result("error", error=error)))


def did_well(index: int, agent: str = "writer") -> FinishedItem:
    inner = {agent: Result("ok", name=agent)}
    group = Result("ok", name="group", steps=inner)
    return FINISHED(ItemResult(Item(str(index), index, {}), "t", 0, Result("ok", steps={"group": group})))


def indexes(results: list[FinishedItem]) -> list[int]:
    return [each.index for each in results]


def test_what_fails_alike_is_held_back_and_ends_the_run() -> None:
    same = SameErrors(3)
    assert [indexes(same.add(failed(index))) for index in range(3)] == [[], [], []]
    assert same.tripped is not None
    assert same.tripped.startswith(
        "3 items in a row failed alike, and so would the next: writer: bad_request (HTTP 400)"
    )
    assert "item 2: no such parameter: foo" in same.tripped
    assert indexes(same.add(failed(3))) == []
    assert indexes(same.add(failed(4, "another fault"))) == []
    assert indexes(same.add(did_well(5))) == [5]
    assert same.release() == []


def test_one_that_does_well_shows_that_the_others_were_about_their_items() -> None:
    same = SameErrors(3)
    same.add(failed(0))
    assert indexes(same.add(failed(1, agent="writer[2]"))) == []
    assert indexes(same.add(did_well(2, "critic"))) == [2]
    assert indexes(same.add(did_well(3))) == [0, 1, 3]
    same.add(failed(4))
    assert (same.tripped, indexes(same.release())) == (None, [4])


def test_another_fault_begins_another_row() -> None:
    same = SameErrors(3)
    same.add(failed(0))
    same.add(failed(1))
    assert indexes(same.add(failed(2, "quite another thing"))) == [0, 1]
    assert indexes(same.add(failed(3))) == [2]
    assert indexes(same.add(failed(4, http_status=404))) == [3]
    assert indexes(same.add(failed(5, agent="critic"))) == []
    assert same.tripped is None


def test_faults_of_an_input_and_of_the_endpoint_do_not_count() -> None:
    same = SameErrors(2)
    for index, kind in enumerate(("content_filter", "context_length", "server", "timeout", "input") * 3):
        assert indexes(same.add(failed(index, type=kind))) == [index]
    assert same.tripped is None


def test_what_a_rare_agent_failed_at_is_written_in_time_and_still_counts() -> None:
    same = SameErrors(2)
    same.add(failed(0))
    freed = [index for number in range(1, 400) for index in indexes(same.add(did_well(number, "other")))]
    assert 0 in freed[:300]
    same.add(failed(500))
    assert same.tripped is not None


def test_none_is_held_back_where_it_is_switched_off() -> None:
    same = SameErrors(0)
    assert [indexes(same.add(failed(index))) for index in range(3)] == [[0], [1], [2]]
    assert same.tripped is None
