"""How long a server asks to wait: every form, and every form of nonsense."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.endpoints.retry_after import retry_after_seconds

NOW = datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC).timestamp()
IN_30_S = "Sat, 21 Nov 2026 07:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": " 20 "}, 20.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": IN_30_S}, 30.0),
        ({"retry-after": "Saturday, 21-Nov-26 07:00:30 GMT"}, 30.0),  # RFC 850
        ({"retry-after": "Sat Nov 21 07:00:30 2026"}, 30.0),  # asctime
        ({"retry-after": "Sat, 21 Nov 2026 08:00:30 +0100"}, 30.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "junk", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": IN_30_S, "retry-after": "9"}, 9.0),
        ({"llm_provider-retry-after": "7"}, 7.0),
        ({"llm_provider-retry-after-ms": "700"}, 0.7),
        ({"retry-after": "3", "llm_provider-retry-after": "7"}, 3.0),
    ],
)
def test_what_a_server_may_say(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_seconds(headers, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "nan",
        "inf",
        "-inf",
        "-5",
        "+5",
        "1e99",
        "1e3",
        "0x10",
        "1_000",
        "9" * 400,
        "99999999999",
        "20;",
        "20, 30",
        "٣",
        "\x00",
        "Sat, 21 Nov 2026 06:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sat, 21 Nov 2999 07:00:00 GMT",
        "Sat, 99 Nov 2026 99:99:99 GMT",
        "Sat, 21 Nov 99999999 07:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "llm_provider-retry-after"])
def test_nonsense_counts_as_absent(name: str, value: str) -> None:
    assert retry_after_seconds({name: value}, NOW) is None


def test_silence() -> None:
    assert retry_after_seconds({}, NOW) is None


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "llm_provider-retry-after"]), st.text()))
def test_no_text_is_too_odd(headers: dict[str, str]) -> None:
    seconds = retry_after_seconds(headers, NOW)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 366 * 86400)


@given(st.floats(min_value=0, max_value=1e7), st.sampled_from([("retry-after", 1.0), ("retry-after-ms", 0.001)]))
def test_plain_numbers(number: float, source: tuple[str, float]) -> None:
    name, unit = source
    assert retry_after_seconds({name: f"{number:.6f}"}, NOW) == pytest.approx(number * unit, abs=1e-6)


@given(st.integers(min_value=1, max_value=365 * 86400))
def test_dates_to_come(ahead: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + ahead, UTC), usegmt=True)
    assert retry_after_seconds({"retry-after": date}, NOW) == pytest.approx(ahead)
