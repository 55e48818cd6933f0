"""What a server says of its rate limits in the headers of its answers: pure.

OpenAI's (https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers) say in how long all is back, as
`6m0s` or `20ms`; Anthropic's (https://docs.claude.com/en/api/rate-limits#response-headers) when, as RFC 3339.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from agentbatch.record import record

Unit = Literal["requests", "tokens"]

_NUMBER = re.compile(r"[0-9]{1,12}")
_SPAN = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_SPAN_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_PLAIN_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


@record
class Allowance:
    """One limit as the server states it: how much of it is left, and in how many seconds all of it is back.

    `reset_s` is None where it does not say.
    """

    unit: Unit
    limit: int
    remaining: int
    reset_s: float | None


def allowances(headers: Mapping[str, str], now: float) -> list[Allowance]:
    """The limits that an answer's headers state; those that make no sense are left out.

    Args:
        headers: names in lower case.
        now: Unix time in seconds. Where the answer has a `date`, the server's clock counts instead.
    """
    found: list[Allowance] = []
    for unit in ("requests", "tokens"):
        limit = headers.get(f"x-ratelimit-limit-{unit}")
        if limit is not None:
            left, reset = headers.get(f"x-ratelimit-remaining-{unit}"), headers.get(f"x-ratelimit-reset-{unit}")
            found += _allowance(unit, limit, left, None if reset is None else span_seconds(reset))
            continue
        limit = headers.get(f"anthropic-ratelimit-{unit}-limit")
        if limit is not None:
            left, reset = (
                headers.get(f"anthropic-ratelimit-{unit}-remaining"),
                headers.get(f"anthropic-ratelimit-{unit}-reset"),
            )
            found += _allowance(
                unit, limit, left, None if reset is None else _seconds_until(reset, _clock(headers, now))
            )
    return found


def span_seconds(text: str) -> float | None:
    """Seconds from `6m0s`, `1h2m3.5s`, `20ms`, or a plain number of seconds; None where it is none of these."""
    text = text.strip()
    if _PLAIN_SECONDS.fullmatch(text):
        return float(text)
    match = _SPAN.fullmatch(text) if text else None
    if match is None:
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _SPAN_UNITS, strict=True) if part)


def _allowance(unit: Unit, limit: str, left: str | None, reset_s: float | None) -> list[Allowance]:
    if left is None or not _NUMBER.fullmatch(limit) or not _NUMBER.fullmatch(left) or int(limit) < 1:
        return []
    return [Allowance(unit, int(limit), min(int(left), int(limit)), reset_s)]


def _seconds_until(moment: str, now: float) -> float | None:
    try:
        then = datetime.fromisoformat(moment.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return None if then.tzinfo is None else max(0.0, then.timestamp() - now)


def _clock(headers: Mapping[str, str], now: float) -> float:
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, IndexError):
        return now
