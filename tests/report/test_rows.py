from typing import Any

import orjson
from run_files import failed, result, step, trace_id

from agentbatch.report.blocks import Packer
from agentbatch.report.item_book import ItemBook
from agentbatch.report.result_lines import ResultLine, read_result
from agentbatch.report.rows import MOST_ROWS, Rows, Sampling, excerpt, item_texts, trace_key


def line_of(fields: dict[str, Any], number: int = 1) -> ResultLine:
    line = read_result(number, orjson.dumps(fields))
    assert line is not None
    return line


def test_all_items_have_a_row_where_they_fit() -> None:
    sampling = Sampling(MOST_ROWS)
    assert all(sampling.takes(line_of(result(1))) for _ in range(500))


def test_where_no_table_is_wanted_nothing_has_a_row() -> None:
    assert not Sampling(None).takes(line_of(failed(1)))


def test_of_a_million_the_failed_come_first_and_the_rest_are_a_sample() -> None:
    fine, bad = line_of(result(1)), line_of(failed(1))
    sampling = Sampling(1_000_000)
    taken = dict.fromkeys(("fine", "bad"), 0)
    for number in range(1_000_000):
        is_bad = number % 100 == 0
        taken["bad" if is_bad else "fine"] += sampling.takes(bad if is_bad else fine)
    assert taken["bad"] == 10_000
    assert 70_000 < taken["fine"] <= 80_000


def test_even_if_all_failed_the_sample_has_a_bound() -> None:
    bad = line_of(failed(1))
    sampling = Sampling(500_000)
    assert sum(sampling.takes(bad) for _ in range(500_000)) <= MOST_ROWS


def test_a_superseded_line_leaves_a_dead_row() -> None:
    with Packer() as packer:
        rows, book = Rows(3, packer), ItemBook()
        for number, fields in enumerate([failed(1), result(2), result(1, trace_id=trace_id(9))], 1):
            line = line_of(fields, number)
            rows.add(line, book.enter(line), book)
        assert rows.dead() == [0]
        assert rows.row_of_trace[trace_key(trace_id(9))] == 2
        assert rows.row_of_trace[trace_key(trace_id(2))] == 1
        assert trace_key("no trace") not in rows.row_of_trace


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt(line_of(result(1, output="a\n\n  b\tc"))) == "a b c"
    assert excerpt(line_of(result(1, output={"a": [1, 2]}))) == '{ "a": [ 1, 2 ] }'
    assert excerpt(line_of(result(1, output=None))) == ""
    assert excerpt(line_of(failed(1, message="it\nbroke"))) == "it broke"
    assert len(excerpt(line_of(result(1, output="x" * 10_000)))) == 140


def test_the_texts_of_an_item_are_bounded_and_say_what_is_missing() -> None:
    agents = {"a": step(output="y" * 100), "b": step(output="x" * 100), "c": step(output="z" * 100)}
    number, trace, output, error, steps = item_texts(line_of(result(1, output="x" * 100, agents=agents), 7), 150)
    assert (number, trace, error) == (7, trace_id(1), None)
    assert output == ["x" * 100, 0, 0]
    assert steps[0][9] == ["y" * 50, 100, 0]
    assert steps[1][9] == 1, "the item's own output is not repeated"
    assert steps[2][9] == ["", 100, 0]


def test_objects_are_shown_as_json() -> None:
    assert item_texts(line_of(result(1, output={"a": 1})), 1000)[2] == ['{\n  "a": 1\n}', 0, 1]
    assert item_texts(line_of(result(1, output=False)), 1000)[2] == ["false", 0, 1]
