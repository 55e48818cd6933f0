"""What servers say of their limits, and what they had better not."""

from __future__ import annotations

import pytest

from agentbatch.endpoints.rate_headers import Allowance, allowances, span_seconds

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1s", 1.0),
        ("1.5s", 1.5),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("0s", 0.0),
        ("12", 12.0),
        ("0.25", 0.25),
        (" 8.64s ", 8.64),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("nan", None),
        ("1e9s", None),
        ("9" * 50 + "s", None),
        ("1s2m", None),
    ],
)
def test_spans(text: str, seconds: float | None) -> None:
    assert span_seconds(text) == seconds


def test_openai_states_requests_and_tokens() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert allowances(headers, NOW) == [
        Allowance("requests", 60, 59, 1.0),
        Allowance("tokens", 150_000, 149_984, 360.0),
    ]


def test_anthropic_states_when_by_its_own_clock() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-21T07:00:36Z",
    }
    assert allowances(headers | {"date": "Sat, 21 Nov 2026 07:00:00 GMT"}, NOW) == [Allowance("requests", 50, 0, 36.0)]
    at_seven = 1_795_244_400.0
    assert allowances(headers, at_seven) == [Allowance("requests", 50, 0, 36.0)]
    assert allowances(headers, at_seven + 60) == [Allowance("requests", 50, 0, 0.0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"x-ratelimit-limit-requests": "many"},
        {"x-ratelimit-limit-requests": "0"},
        {"x-ratelimit-limit-requests": "-5"},
        {"x-ratelimit-remaining-requests": ""},
        {"x-ratelimit-remaining-requests": "1e9"},
    ],
)
def test_what_makes_no_sense_is_left_out(changes: dict[str, str]) -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "5"}
    assert allowances(headers, NOW) == [Allowance("requests", 60, 5, None)]
    assert allowances({**headers, **changes}, NOW) == []


def test_more_left_than_there_is_and_a_reset_that_is_none() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "600",
        "x-ratelimit-reset-requests": "tomorrow",
    }
    assert allowances(headers, NOW) == [Allowance("requests", 60, 60, None)]
