"""What a check is: something that looks at a value and says whether it will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from agentbatch.files.plain_json import to_plain
from agentbatch.record import record

_SHOWN = 200


@record
class Verdict:
    """What a check found. `score` is from 0 to 1; None where there is none. `message` says why it did not pass."""

    passed: bool
    score: float | None
    message: str = ""

    @classmethod
    def of(cls, passed: bool, message: str) -> Verdict:
        """For a check that knows only yes and no; the message is for the no."""
        return cls(passed, 1.0 if passed else 0.0, "" if passed else message)

    def document(self) -> dict[str, Any]:
        """What stands in the result line."""
        score = None if self.score is None else round(self.score, 6)
        return {"passed": self.passed, "score": score, "message": self.message}


class Check(Protocol):
    """Looks at one value. Never waits: what takes a model's time is a judge."""

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """The verdict. `names` are those a template may see.

        Raises:
            StepError: an expression or a template of the check fails on this item.
        """
        ...


def as_text(value: Any) -> str:
    """The value as a text check sees it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(to_plain(value)).decode()


def shown(value: Any) -> str:
    """The value in a message: its beginning."""
    text = repr(value) if isinstance(value, str) else as_text(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
