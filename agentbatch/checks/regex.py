"""`regex`: a pattern that must be found in an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record
from agentbatch.text.patterns import Pattern

_MOST_TEXT: Final = 100_000
"""Characters looked at: of a pattern that looks around, the time may grow faster than the text."""


@record
class Regex:
    """Searches, as `re.search` does: `^` and `$` bind it to the ends."""

    pattern: Pattern

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if it is found."""
        found = self.pattern.found_in(as_text(value)[:_MOST_TEXT])
        return Verdict.of(found, f"{shown(self.pattern.source)} is not found in {shown(value)}")


def build(config: CheckConfig, where: str, assembly: Assembly) -> Regex:
    """The check that `config` describes."""
    return Regex(Pattern(config.regex or "", ignore_case=config.ignore_case))
