from typing import Any

import orjson
from run_files import failed, result

from agentbatch.report.comparison import MOST_LISTED, Listed, compare_items
from agentbatch.report.item_book import ItemBook
from agentbatch.report.result_lines import read_result


def book_of(*lines: dict[str, Any]) -> ItemBook:
    book = ItemBook()
    for number, fields in enumerate(lines, 1):
        line = read_result(number, orjson.dumps(fields))
        assert line is not None
        book.enter(line)
    return book


def test_item_by_item() -> None:
    this = book_of(
        result(1), failed(2), result(3), result(4, output="new"), result(5), failed(6), result(8, status="skipped")
    )
    other = book_of(result(1), result(2), failed(3), result(4, output="old"), failed(6), result(7), result(8))
    found = compare_items(this, other)
    assert found.common == 6
    assert found.broken == Listed(1, ["2"])
    assert found.mended == Listed(1, ["3"])
    assert found.changed == Listed(1, ["4"])
    assert found.added == Listed(1, ["5"])
    assert found.missing == Listed(1, ["7"])
    assert found.same == 2


def test_the_last_line_counts_on_both_sides() -> None:
    found = compare_items(book_of(failed(1), result(1)), book_of(result(1), failed(1)))
    assert (found.mended.count, found.broken.count) == (1, 0)


def test_the_lists_are_cut_and_the_counts_are_not() -> None:
    many = range(MOST_LISTED + 20)
    found = compare_items(book_of(*map(failed, many)), book_of(*map(result, many)))
    assert (found.broken.count, len(found.broken.ids)) == (MOST_LISTED + 20, MOST_LISTED)
