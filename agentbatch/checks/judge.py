"""`judge`: an agent that scores an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agentbatch.answer_schema import AnswerSchema
from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, shown
from agentbatch.checks.config import CheckConfig
from agentbatch.checks.number_range import number_of
from agentbatch.errors import SchemaFault, StepError
from agentbatch.items import Result
from agentbatch.record import record
from agentbatch.step import Step
from agentbatch.templates import Condition

_REASONS = ("reason", "message", "explanation", "comment")


@record
class Judge:
    """A step that is run on what is checked, and what its answer must come to."""

    step: Step
    least: float
    most: float = 1.0
    score: Condition | None = None

    def verdict(self, judged: Result, names: Mapping[str, Any]) -> Verdict:
        """What the judge's answer says. A judge that fails has not passed anybody."""
        if not judged.ok:
            said = f": {judged.error.type}: {judged.error.message}" if judged.error else ""
            return Verdict(False, None, f"{judged.name} ended as {judged.status}{said}")
        answer = _read(judged.output)
        try:
            number = number_of(self._scored(answer, names))
        except StepError as error:
            return Verdict(False, None, error.message)
        if number is None:
            return Verdict(False, None, f"{judged.name} gave no score: {shown(judged.output)}")
        passed = number >= self.least
        reason = _reason(answer)
        message = "" if passed else f"{number:g} is below {self.least:g}" + (f": {reason}" if reason else "")
        return Verdict(passed, min(1.0, max(0.0, number / self.most)), message)

    def _scored(self, answer: Any, names: Mapping[str, Any]) -> Any:
        if self.score is not None:
            return self.score.value({**names, "judgement": answer})
        return cast("Mapping[str, Any]", answer).get("score") if isinstance(answer, Mapping) else answer


def _read(answer: Any) -> Any:
    """The answer; of a text that is a JSON object, as of a judge without a schema, the object."""
    if not isinstance(answer, str):
        return answer
    try:
        value = AnswerSchema({}).parse(answer)
    except SchemaFault:
        return answer
    return value if isinstance(value, dict) else answer  # pyright: ignore[reportUnknownVariableType]


def _reason(answer: Any) -> str:
    if not isinstance(answer, Mapping):
        return ""
    fields = cast("Mapping[str, Any]", answer)
    found = next((fields[name] for name in _REASONS if fields.get(name)), "")
    return found[:500] if isinstance(found, str) else ""


def build(config: CheckConfig, where: str, assembly: Assembly) -> Judge:
    """The check that `config` describes."""
    judge = config.judge
    assert judge is not None
    (step,) = assembly.steps([judge.agent])
    score = None if judge.score is None else Condition(judge.score, where=f"{where}.score")
    return Judge(step, judge.min, judge.max, score)
