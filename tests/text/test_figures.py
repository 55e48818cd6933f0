import pytest

from agentbatch.text import figures


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (9_999, "10.0k"),
        (12_345, "12.3k"),
        (999_960, "1.00M"),
        (1.25e9, "1.25G"),
    ],
)
def test_short_count_keeps_three_figures(number: float, text: str) -> None:
    assert figures.short_count(number) == text


@pytest.mark.parametrize("number", [10**power - 1 for power in range(1, 13)] + [10**power for power in range(13)])
def test_short_count_fits_five_characters(number: int) -> None:
    assert len(figures.short_count(number)) <= 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.0012, "1.2 ms"),
        (0.035, "35 ms"),
        (0.81, "0.81 s"),
        (12.5, "12.5 s"),
        (200, "3m 20s"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0.4 s"), (59.4, "59 s"), (59.6, "1m 00s"), (3599.6, "1h 00m"), (7500, "2h 05m"), (90_000, "1d 01h")],
)
def test_span_of_time(value: float, text: str) -> None:
    assert figures.span_of_time(value) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [(None, "?"), (0, "$0"), (0.00001, "<$0.0001"), (0.0042, "$0.0042"), (0.25, "$0.250"), (1234.5, "$1,234.50")],
)
def test_money(usd: float | None, text: str) -> None:
    assert figures.money(usd) == text


@pytest.mark.parametrize(("per_second", "text"), [(0, "0"), (0.25, "0.25"), (7.21, "7.2"), (1240.4, "1,240")])
def test_rate(per_second: float, text: str) -> None:
    assert figures.rate(per_second) == text


def test_percent_never_looks_better_than_it_is():
    assert [figures.percent(share) for share in (0, 0.5, 0.29, 0.8999, 0.9, 0.99999, 1)] == [
        "0%",
        "50%",
        "29%",
        "89.9%",
        "90%",
        "99.9%",
        "100%",
    ]


def test_counted_knows_one_and_plurals_of_its_own() -> None:
    said = [figures.counted(number, "item") for number in (0, 1, 2, 1200)]
    assert said == ["0 items", "1 item", "2 items", "1,200 items"]
    assert [figures.counted(number, "stretch", "stretches") for number in (1, 3)] == ["1 stretch", "3 stretches"]
