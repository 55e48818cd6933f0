from typing import Any

import orjson
from run_files import failed, result

from agentbatch.report.item_book import ItemBook
from agentbatch.report.result_lines import read_result


def book_of(*lines: dict[str, Any]) -> ItemBook:
    book = ItemBook()
    for number, fields in enumerate(lines, 1):
        line = read_result(number, orjson.dumps(fields))
        assert line is not None
        book.enter(line)
    return book


def test_the_last_line_of_an_item_counts() -> None:
    book = book_of(result(1), failed(2), failed(3), result(2), failed(1, "auth"))
    assert book.counts() == {"ok": 1, "error": 2}
    assert book.superseded == 2
    assert [book.status(slot) for slot in range(3)] == ["error", "ok", "error"]
    assert [(group.type, group.count) for group in book.error_groups()] == [("server", 1), ("auth", 1)]


def test_ids_that_are_the_same_text_are_the_same_item() -> None:
    assert len(book_of(result(1), result("1"))) == 1


def test_examples_are_of_items_that_still_fail_and_differ() -> None:
    lines = [failed(1, message="a"), failed(2, message="b"), failed(3, message="b"), failed(4, message="c"), result(1)]
    (group,) = book_of(*lines).error_groups()
    assert group.count == 3
    assert [(one.id, one.message, one.agent, one.http_status) for one in group.examples] == [
        ("2", "b", "writer", 500),
        ("4", "c", "writer", 500),
    ]


def test_a_failure_without_an_error_is_named_by_its_status() -> None:
    book = book_of(result(1, status="timeout"), result(2, status="skipped"))
    assert [(group.type, group.count, list(group.examples)) for group in book.error_groups()] == [("timeout", 1, [])]
    assert book.counts() == {"timeout": 1, "skipped": 1}


def test_thousands_of_error_types_are_counted_together() -> None:
    book = book_of(*(failed(number, f"type {number}") for number in range(3000)))
    groups = book.error_groups()
    assert sum(group.count for group in groups) == 3000
    assert len(groups) <= 1001


def test_outputs_are_the_same_whatever_the_order_of_keys() -> None:
    one = book_of(result(1, output={"a": 1, "b": [2]}), result(2, output="x"))
    other = book_of(result(2, output="x"), result(1, output={"b": [2], "a": 1}))
    assert list(one.digests) == list(other.digests)[::-1]
