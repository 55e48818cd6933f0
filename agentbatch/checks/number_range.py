"""`range`: bounds of a number."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record


@record
class NumberRange:
    """From `least` to `most`, both included."""

    least: float
    most: float

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if the value is a number, or a text that is one, within the bounds."""
        number = number_of(value)
        if number is None:
            return Verdict.of(False, f"is no number: {shown(value)}")
        return Verdict.of(self.least <= number <= self.most, f"{number:g} is not {self._words()}")

    def _words(self) -> str:
        if self.most == inf:
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if self.least == -inf else f"from {self.least:g} to {self.most:g}"


def number_of(value: Any) -> float | None:
    """The number that a value is, or that its text says; None where it is none. True and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if isnan(number) else number


def build(config: CheckConfig, where: str, assembly: Assembly) -> NumberRange:
    """The check that `config` describes."""
    bounds = config.range
    least = None if bounds is None else bounds.min
    most = None if bounds is None else bounds.max
    return NumberRange(-inf if least is None else least, inf if most is None else most)
