"""`regex`: a pattern that must be found in an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record

_MOST_TEXT: Final = 100_000
"""Characters looked at: a pattern may take time that grows faster than the text."""


@record
class Regex:
    """Searches, as `re.search` does: `^` and `$` bind it to the ends."""

    pattern: re.Pattern[str]

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if it is found."""
        found = self.pattern.search(as_text(value)[:_MOST_TEXT])
        return Verdict.of(found is not None, f"{shown(self.pattern.pattern)} is not found in {shown(value)}")


def build(config: CheckConfig, where: str, assembly: Assembly) -> Regex:
    """The check that `config` describes."""
    return Regex(re.compile(config.regex or "", re.IGNORECASE if config.ignore_case else 0))
