"""`contains` and `not_contains`: texts that must, or must not, be in an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record
from agentbatch.templates import Template


@record
class Contains:
    """Looks for each text. `wanted` False turns it round: none may be there."""

    texts: tuple[Template, ...]
    wanted: bool = True
    ignore_case: bool = False

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if all are there, or none is."""
        text = self._folded(as_text(value))
        rendered = [template.render(names) for template in self.texts]
        wrong = [each for each in rendered if (self._folded(each) in text) is not self.wanted]
        says = "does not contain" if self.wanted else "contains"
        message = f"{says} {', '.join(shown(each) for each in wrong)}"
        return Verdict(not wrong, 1.0 - len(wrong) / len(rendered) if rendered else 1.0, message if wrong else "")

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text


def build(config: CheckConfig, where: str, assembly: Assembly) -> Contains:
    """The check that `config` describes."""
    wanted = config.contains is not None
    given = (config.contains if wanted else config.not_contains) or []
    texts = [given] if isinstance(given, str) else given
    return Contains(tuple(Template(text, where=where) for text in texts), wanted, config.ignore_case)
