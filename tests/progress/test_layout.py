import pytest
from hypothesis import given
from hypothesis import strategies as st
from progress.scripted_run import ScriptedRun
from rich.cells import cell_len

from agentbatch.progress.layout import ASCII_GLYPHS, Glyphs, Layout, Line, bar
from agentbatch.progress.tally import Tally
from agentbatch.progress.view import Pressure, View, Watch
from agentbatch.trace import Tracer


def view_of(agents: int = 2, items: int = 10, total: int | None = 20, price: float | None = 0.01) -> View:
    tally = Tally()
    run = ScriptedRun(Tracer([tally]), tuple(f"agent_{number}" for number in range(agents)), price)
    for number in range(items):
        run.item(number, ("server", "502") if number == 0 else None)
    return Watch(tally, total, lambda: Pressure(3, 8, 2, 4, "concurrency of model fast")).look()


def plain(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def titles(columns: int) -> list[str]:
    return plain(Layout(Glyphs()).lines(view_of(), columns, 30))[0].replace("tokens ", "tokens_").split()


def test_a_wide_terminal_shows_every_column() -> None:
    assert titles(120) == [
        "agent", "queued", "running", "done", "failed", "retries", "calls/s", "p50", "p95", "tokens_in", "tokens_out",
        "cost",
    ]  # fmt: skip


def test_narrower_terminals_lose_the_least_important_columns_first() -> None:
    assert titles(80) == ["agent", "queued", "running", "done", "failed", "retries", "p50", "p95", "cost"]
    assert titles(50) == ["agent", "queued", "running", "done", "failed", "p50"]
    assert titles(30) == ["agent", "done", "failed"]


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 45))
def test_a_picture_fits_its_terminal(columns: int, rows: int, agents: int) -> None:
    lines = Layout(Glyphs()).lines(view_of(agents, items=2), columns, rows)
    assert 1 <= len(lines) <= max(1, rows - 1)
    table = [line for line in plain(lines) if line.startswith("agent")]
    assert all(cell_len(line) <= max(columns - 1, 8) for line in table)


def test_what_does_not_fit_is_summed() -> None:
    lines = plain(Layout(Glyphs()).lines(view_of(agents=40), 120, 40))
    rows = [line for line in lines if line.startswith(("agent_", "and "))]
    assert len(rows) == 12
    assert rows[-1].split()[:6] == ["and", "29", "more", "0", "0", "290"]


def test_the_busy_agents_are_the_ones_shown() -> None:
    tally = Tally()
    tracer = Tracer([tally])
    run = ScriptedRun(tracer, tuple(f"agent_{number}" for number in range(40)))
    run.item(1)
    run.begin("agent_37", working=True)
    lines = plain(Layout(Glyphs()).lines(Watch(tally).look(), 120, 40))
    assert any(line.startswith("agent_37 ") for line in lines)


def test_the_agents_that_fail_are_shown_however_many_there_are() -> None:
    tally = Tally()
    tracer = Tracer([tally])
    names = tuple(f"agent_{number}" for number in range(40))
    run = ScriptedRun(tracer, names)
    run.item(1)
    run.begin("agent_3", working=True)
    tracer.end(tracer.start("agent_29", "agent"), "error", "server", "502")
    lines = plain(Layout(Glyphs()).lines(Watch(tally).look(), 120, 40))
    assert [line.split()[0] for line in lines if line.startswith("agent_")][-1] == "agent_29"
    assert any(line.startswith("agent_3 ") for line in lines)


def test_long_names_have_more_room_on_a_wide_terminal() -> None:
    tally = Tally()
    ScriptedRun(Tracer([tally]), ("a_rather_long_name_number_17",)).item(1)
    view = Watch(tally).look()
    wide, narrow = (plain(Layout(Glyphs()).lines(view, columns, 30))[1] for columns in (120, 80))
    assert wide.startswith("a_rather_long_name_number_17 ")
    assert narrow.startswith("a_rather_long_name_...  ")


def test_columns_do_not_jump_when_figures_shrink() -> None:
    layout = Layout(Glyphs())
    wide = plain(layout.lines(view_of(price=1234.5), 120, 30))[0]
    assert plain(layout.lines(view_of(price=0.01), 120, 30))[0] == wide


def test_it_says_how_far_how_fast_how_dear_and_what_holds_it() -> None:
    text = "\n".join(plain(Layout(Glyphs()).lines(view_of(), 160, 30)))
    for fact in (
        "10/20  50%",
        "items/s",
        " left",
        "in flight: 3 of 8 items · 2 of 4 requests",
        "held back by concurrency",
    ):
        assert fact in text
    assert "$0.190, about $0.380 at the end" in text
    assert "failed 1 server  e.g. item 0 agent_1: 502" in text


def test_an_unknown_price_is_a_question_mark() -> None:
    lines = plain(Layout(Glyphs()).lines(view_of(price=None), 120, 30))
    assert lines[1].endswith("?")
    assert any("cost unknown" in line for line in lines)


def test_without_a_total_there_is_no_bar() -> None:
    lines = plain(Layout(Glyphs()).lines(view_of(total=None), 120, 30))
    assert any(line.startswith("10 items  ") for line in lines)
    assert not any("━" in line or "%" in line for line in lines)


@pytest.mark.parametrize("glyphs", [Glyphs(), ASCII_GLYPHS])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999, 1.0])
def test_a_bar_is_exactly_as_wide_as_asked(share: float, glyphs: Glyphs) -> None:
    (drawn,) = plain([bar(share, 33, glyphs)])
    assert len(drawn) == 33
    assert (drawn == glyphs.full * 33) == (share == 1)


def test_ascii_glyphs_are_ascii() -> None:
    assert "\n".join(plain(Layout(ASCII_GLYPHS).lines(view_of(), 120, 30))).isascii()
