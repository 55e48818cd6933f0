"""What something will take, as a lower and an upper bound, and how such bounds add up along a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import NamedTuple

from agentbatch.record import record

Account = tuple[str, str]
"""Whose bounds: `("all", "")`, or of `model`, `agent` or `group` and its name."""

EVERYTHING: Account = ("all", "")


class Spend(NamedTuple):
    """Requests, tokens, US dollars as far as prices are known, and seconds at work."""

    calls: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    usd: float = 0.0
    busy_s: float = 0.0

    def map(self, other: Spend, how: Callable[[float, float], float]) -> Spend:
        """Both, figure by figure."""
        return Spend(*map(how, self, other))

    def times(self, factor: float) -> Spend:
        """So many of these."""
        return Spend(*(figure * factor for figure in self))

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens


_NOTHING = Spend()


class Range(NamedTuple):
    """From `low` to `high`."""

    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


class Bounds(NamedTuple):
    """At least and at most."""

    low: Spend = _NOTHING
    high: Spend = _NOTHING


@record
class Bill:
    """The bounds of one step, or of one item, by account; `seconds` is how long it takes from beginning to end."""

    parts: Mapping[Account, Bounds] = field(default_factory=dict[Account, Bounds])
    seconds: Range = Range()

    @staticmethod
    def in_turn(bills: Iterable[Bill]) -> Bill:
        """All of them, one after the other."""
        bills = list(bills)
        parts = _together(bills, _sum, _sum)
        return Bill(parts, Range(sum(bill.seconds.low for bill in bills), sum(bill.seconds.high for bill in bills)))

    @staticmethod
    def at_once(bills: Iterable[Bill]) -> Bill:
        """All of them, side by side."""
        bills = list(bills)
        return Bill(_together(bills, _sum, _sum), _range(bills, max, max))

    @staticmethod
    def one_of(bills: Iterable[Bill]) -> Bill:
        """One of them, nobody knows which."""
        bills = list(bills)
        return Bill(_together(bills, min, max), _range(bills, min, max))

    @staticmethod
    def some_of(bills: Iterable[Bill]) -> Bill:
        """One of them, or several side by side."""
        bills = list(bills)
        return Bill(_together(bills, min, _sum), _range(bills, min, max))

    def repeated(self, least: float, most: float, *, at_once: bool = False) -> Bill:
        """This so often, one after the other or side by side."""
        parts = {name: Bounds(low.times(least), high.times(most)) for name, (low, high) in self.parts.items()}
        often = Range(min(1, least), min(1, most)) if at_once else Range(least, most)
        return Bill(parts, Range(self.seconds.low * often.low, self.seconds.high * often.high))

    def maybe(self) -> Bill:
        """This or nothing."""
        return self.repeated(0, 1)

    def within(self, account: Account) -> Bill:
        """This, with an account of its own for how often it is done and how long each takes."""
        low, high = self.seconds
        return Bill(
            {**self.parts, account: Bounds(Spend(calls=1, busy_s=low), Spend(calls=1, busy_s=high))}, self.seconds
        )


def _sum(figures: Iterable[float]) -> float:
    return sum(figures)


def _together(
    bills: list[Bill], lows: Callable[[list[float]], float], highs: Callable[[list[float]], float]
) -> dict[Account, Bounds]:
    """The bills' bounds by account; an account that a bill lacks is nothing in it."""
    accounts = dict.fromkeys(account for bill in bills for account in bill.parts)
    found: dict[Account, Bounds] = {}
    for account in accounts:
        bounds = [bill.parts.get(account, Bounds()) for bill in bills]
        low = Spend(*(lows(list(figures)) for figures in zip(*(each.low for each in bounds), strict=True)))
        high = Spend(*(highs(list(figures)) for figures in zip(*(each.high for each in bounds), strict=True)))
        found[account] = Bounds(low, high)
    return found


def _range(bills: list[Bill], lows: Callable[..., float], highs: Callable[..., float]) -> Range:
    if not bills:
        return Range()
    return Range(lows(bill.seconds.low for bill in bills), highs(bill.seconds.high for bill in bills))
