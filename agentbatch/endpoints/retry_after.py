"""How long a server asks to wait, read from an answer's headers: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,12})?")
_LONGEST_S = 366 * 86400.0
_SOURCES = (
    ("retry-after-ms", 0.001),  # OpenAI, Azure
    ("retry-after", 1.0),  # RFC 9110 section 10.2.3
    ("llm_provider-retry-after-ms", 0.001),  # what LiteLLM makes of the header of the provider behind it
    ("llm_provider-retry-after", 1.0),
)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait at least, or None where no header says anything usable.

    Args:
        headers: names in lower case.
        now: Unix time in seconds, for the form that is a date.

    A value that is no finite number from 0 to a year, and a date in the past, count as absent.
    """
    for name, unit in _SOURCES:
        value = headers.get(name)
        if value is None or len(value) > 100:
            continue
        seconds = _seconds(value.strip(), unit, now)
        if seconds is not None and seconds <= _LONGEST_S:
            return seconds
    return None


def _seconds(value: str, unit: float, now: float) -> float | None:
    if _NUMBER.fullmatch(value):
        return float(value) * unit
    if unit != 1.0:
        return None
    try:
        date = parsedate_to_datetime(value)
        then = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return then - now if then > now else None
