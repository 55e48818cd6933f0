from dataclasses import replace

import pytest
from recorded_run import Recorder

from agentbatch.text.screen import Screen
from agentbatch.traces.entries import TraceEntry
from agentbatch.traces.index import ErrorKind
from agentbatch.traces.longest import LongestStep
from agentbatch.traces.lookup import Found
from agentbatch.traces.text import render_errors, render_head, render_list, render_tree
from agentbatch.traces.tree import Node, tree_of_result, tree_of_spans

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n[red]x"


def entry(**changes: object) -> TraceEntry:
    plain = TraceEntry(0, 1, "ab" * 16, "7", "ok", 0, 1.5, 0.25, 0.002, None, None)
    return plain._replace(**changes)  # type: ignore[arg-type]


def tree(item_id: str = "a", **options: object) -> Node:
    root = tree_of_spans(Recorder().trace(item_id, **options))  # type: ignore[arg-type]
    assert root is not None
    return root


def test_a_tree_with_bars_to_scale() -> None:
    root = tree(queued=1.0, seconds=3.0, retried=True, request_id="req-1")
    assert render_tree(root, Screen(columns=100)) == (
        "                       0                           4.00 s  worked  queued  in  out     cost  status\n"
        "item a                 ░░░░░░░░███████░░░░░░█████████████  3.00 s  1.00 s  12   34  $0.0020  ok\n"
        "└─ writer  chat        ░░░░░░░░███████░░░░░░█████████████  3.00 s  1.00 s  12   34  $0.0020  ok\n"
        "   ├─ mock-1  attempt  ░░░░░░░░███████                     0.75 s  1.00 s   0    0       $0  error\n"
        "   │       rate_limited (429): slow down\n"
        "   └─ mock-1  attempt                       █████████████  1.50 s       -  12   34  $0.0020  ok\n"
        "           attempt 2\n"
        "           request req-1\n"
    )


def test_on_a_wide_screen_notes_stand_beside() -> None:
    root = tree(queued=1.0, seconds=3.0, retried=True, request_id="req-1")
    lines = render_tree(root, Screen(columns=150)).splitlines()
    assert len(lines) == 5
    assert lines[3].endswith("$0  error   rate_limited (429): slow down")
    assert lines[4].endswith("$0.0020  ok      attempt 2; request req-1")


def test_a_narrow_screen_in_ascii() -> None:
    root = tree(retried=True)
    text = render_tree(root, Screen(columns=40, unicode=False, encoding="ascii"))
    assert text.isascii()
    assert "|- mock-1  attempt" in text
    assert "#" not in text, "the bar has no room"
    assert "##" in render_tree(root, Screen(columns=100, unicode=False, encoding="ascii"))


def test_what_takes_no_time_and_what_a_broken_clock_wrote_can_be_drawn() -> None:
    for moments in ((0.0, 0.0), (5.0, 1.0)):
        root = replace(tree(), stay=(0.0, 0.0), work=(moments,), children=())
        assert "█" in render_tree(root, Screen(columns=100))


def test_a_result_line_as_a_tree_has_no_bars() -> None:
    root = tree_of_result({"id": 7, "status": "ok", "duration_s": 1.5, "agents": {"w": {"status": "ok"}}})
    assert render_tree(root, Screen(columns=100)) == (
        "        worked  queued  in  out  cost  status\n"
        "item 7  1.50 s       -   -    -     -  ok\n"
        "└─ w      0 ms       -   -    -     -  ok\n"
    )


@pytest.mark.parametrize("columns", [20, 100, 200])
def test_hostile_text_can_neither_steer_the_terminal_nor_break_a_line(columns: int) -> None:
    screen = Screen(columns=columns)
    hostile = entry(
        item_id=HOSTILE, status=HOSTILE, trace_id=HOSTILE, error_type=HOSTILE, error_message=HOSTILE, agent=HOSTILE
    )
    root = tree(HOSTILE, status="error", error=(HOSTILE, HOSTILE), request_id=HOSTILE)
    root = replace(root, children=(replace(root.children[0], label=HOSTILE, kind=HOSTILE, status=HOSTILE),))
    texts = [
        render_tree(root, screen),
        "".join(render_list([hostile], screen, lambda _: LongestStep(HOSTILE, 1.0))),
        "".join(render_errors([ErrorKind(HOSTILE, HOSTILE, 1, hostile)], screen)),
        render_head(Found(hostile, others=(hostile,)), screen),
    ]
    for text in texts:
        assert "\\x1b" in text
        assert all(char == "\n" or char.isprintable() for char in text)
    assert [len(text.splitlines()) for text in texts[1:]] == [2, 2, 2]


def test_colours_are_only_where_there_are_colours() -> None:
    root = tree(status="error")
    assert "\x1b[31m" in render_tree(root, Screen(columns=100, color=True))
    assert "\x1b" not in render_tree(root, Screen(columns=100))


def test_a_list() -> None:
    failed = entry(
        item_id="long id", status="error", error_type="server", error_message="boom", agent="writer", cost_usd=None
    )
    assert "".join(render_list([entry(), failed], Screen())).splitlines() == [
        "started  item     status  worked  queued     cost  trace                             error",
        f"-        7        ok      1.50 s  0.25 s  $0.0020  {'ab' * 16}",
        f"-        long id  error   1.50 s  0.25 s        ?  {'ab' * 16}  server, writer: boom",
    ]
    assert list(render_list([], Screen())) == []


def test_a_terminal_s_lines_are_cut_and_a_file_s_are_not() -> None:
    long = entry(error_type="server", error_message="x" * 300)
    assert all(len(line) <= 80 for line in render_list([long], Screen(columns=80, cuts=True)))
    assert "x" * 200 in "".join(render_list([long], Screen(columns=80)))


def test_where_lines_are_cut_the_error_is_seen_all_the_same() -> None:
    failed = entry(status="error", error_type="server", error_message="boom", agent="writer")
    (_, line) = render_list([failed], Screen(columns=80, cuts=True))
    assert line.rstrip().endswith(f"{'ab' * 4}  server, writer: boom")


def test_a_list_of_slow_items_says_what_took_longest() -> None:
    longest = {"7": LongestStep("search", 1.2)}
    lines = list(render_list([entry(), entry(item_id="8")], Screen(), lambda one: longest.get(one.item_id)))
    at = lines[0].index("longest step")
    assert [line[at : at + 15].rstrip() for line in lines] == ["longest step", "search 1.20 s", ""]


def test_a_long_list_is_written_as_it_goes() -> None:
    many = (entry(item_id=str(number)) for number in range(2500))
    lines = list(render_list(many, Screen()))
    assert len(lines) == 2501
    assert lines[2500].split()[1] == "2499"


def test_errors_with_an_example_each() -> None:
    example = entry(error_type="server", error_message="boom")
    kinds = [ErrorKind("server", "writer", 1200, example), ErrorKind("auth", None, 3, example)]
    example_line = f"       item 7, trace {'ab' * 16}: boom\n"
    assert (
        "".join(render_errors(kinds, Screen())) == f"1,200  server  writer\n{example_line}    3  auth\n{example_line}"
    )
