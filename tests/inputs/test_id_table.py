from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from agentbatch.inputs.id_table import IdTable


@given(names=st.lists(st.text(max_size=3)), expected=st.integers(0, 200))
def test_it_answers_as_a_dict_would(names: list[str], expected: int) -> None:
    table = IdTable(expected)
    first_lines: dict[str, int] = {}
    for line, name in enumerate(names, 1):
        assert table.add(name, line) == first_lines.get(name)
        first_lines.setdefault(name, line)
    assert len(table) == len(first_lines)


def test_it_grows_far_past_what_was_expected() -> None:
    table = IdTable(3)
    for line in range(50_000):
        assert table.add(str(line), line) is None
    for line in range(0, 50_000, 7):
        assert table.add(str(line), 99_999) == line
    assert len(table) == 50_000


def test_a_hundred_thousand_ids_take_at_most_sixteen_bytes_each_where_their_number_is_known() -> None:
    tracemalloc.start()
    try:
        table = IdTable(100_000)
        for line in range(100_000):
            table.add(f"item-{line}", line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 100_000
    assert peak < 100_000 * 17


def test_a_line_number_beyond_32_bits_does_not_break_it() -> None:
    table = IdTable()
    assert table.add("a", 2**40) is None
    assert table.add("a", 1) == 2**32 - 1
