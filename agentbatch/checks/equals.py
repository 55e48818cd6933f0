"""`equals`: what an answer must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record
from agentbatch.templates import Condition


@record
class Equals:
    """Compares values; where one is a text, both as texts, without outer white space."""

    expected: Condition | bool | int | float
    ignore_case: bool = False

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if they are the same."""
        expected = self.expected.value(names) if isinstance(self.expected, Condition) else self.expected
        return Verdict.of(self._same(value, expected), f"expected {shown(expected)}, got {shown(value)}")

    def _same(self, value: Any, expected: Any) -> bool:
        if isinstance(value, str) or isinstance(expected, str):
            return self._folded(as_text(value)) == self._folded(as_text(expected))
        return bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)

    def _folded(self, text: str) -> str:
        return text.strip().casefold() if self.ignore_case else text.strip()


def build(config: CheckConfig, where: str, assembly: Assembly) -> Equals:
    """The check that `config` describes."""
    given = config.equals
    expected = Condition(given, where=where) if isinstance(given, str) else given
    return Equals(False if expected is None else expected, config.ignore_case)
