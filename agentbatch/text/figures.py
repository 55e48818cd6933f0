"""Figures as people read them: counts, times, money. Short enough for a table cell."""

from __future__ import annotations

import math
from collections.abc import Callable


def count(number: int) -> str:
    """A whole number with its thousands apart: `12,345`."""
    return f"{number:,}"


def counted(number: int, noun: str, several: str = "") -> str:
    """How many of something: `1 item`, `1,200 items`; `several` is a plural that is no mere `s`."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def short_count(number: float) -> str:
    """At most five characters: `999`, `12.3k`, `1.25M`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            value = number / size
            return (
                f"{value:.2f}{unit}"
                if value < 9.995
                else f"{value:.1f}{unit}"
                if value < 99.95
                else f"{value:.0f}{unit}"
            )
    return f"{number:.0f}"


def rate(per_second: float) -> str:
    """Events per second, with a decimal only where it says something: `0.25`, `7.2`, `1,240`."""
    if per_second <= 0:
        return "0"
    if per_second < 1:
        return f"{per_second:.2f}"
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"


def seconds(value: float | None) -> str:
    """A latency: `35 ms`, `0.81 s`, `12.5 s`, `3m 20s`; `-` where there is none."""
    if value is None:
        return "-"
    if value < 0.0995:
        return f"{value * 1000:.1f} ms" if 0.00005 <= value < 0.00995 else f"{value * 1000:.0f} ms"
    if value < 99.5:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    return span_of_time(value)


def span_of_time(value: float) -> str:
    """How long something takes on a person's clock: `35 ms`, `4 s`, `1m 23s`, `2h 05m`, `3d 04h`."""
    whole = round(value)
    if 0 < value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if whole < 60:
        return f"{value:.1f} s" if value < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def percent(share: float) -> str:
    """A share from 0 to 1, cut to a tenth of a percent, so that what is below a bound also looks like it: `89.9%`."""
    tenths = int(share * 1000 + 1e-6)
    return f"{tenths // 10}%" if tenths % 10 == 0 else f"{tenths / 10:.1f}%"


def money(usd: float | None) -> str:
    """US dollars with at least two figures that count: `$12.34`, `$0.0042`; `?` where a price is unknown."""
    if usd is None:
        return "?"
    if usd == 0:
        return "$0"
    if usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 0.1 else f"${usd:.3f}" if usd < 1 else f"${usd:,.2f}"


def from_to(low: float, high: float, shown: Callable[[float], str], between: str = " to ") -> str:
    """A range: one figure where both are shown alike; `$1.20 to unknown` where there is no upper bound."""
    first = shown(low)
    last = shown(high) if math.isfinite(high) else "unknown"
    return first if first == last else f"{first}{between}{last}"
