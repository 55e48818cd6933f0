"""What the config says of a check, and of the thresholds that a run must reach."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from agentbatch.answer_schema import checked_schema
from agentbatch.checks import KINDS
from agentbatch.settings import ConditionText, Settings, StepName, TemplateText


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


class RangeConfig(Settings):
    """Bounds, both included."""

    min: float | None = None
    """The least."""
    max: float | None = None
    """The most."""


class SimilarConfig(Settings):
    """How near a text must come to another one."""

    to: ConditionText
    """The other text, such as `input.expected`."""
    min: float = Field(default=0.8, ge=0, le=1)
    """The least similarity: 1 - edits / length of the longer one."""


class JudgeConfig(Settings):
    """An agent that scores an answer, which its prompt sees as `output`."""

    agent: StepName
    """An agent or a group whose answer is a number, or has a field `score` (and perhaps a `reason`)."""
    min: float = Field(default=0.5)
    """The least score that passes."""
    max: float = Field(default=1.0, gt=0)
    """The best score it can give: 10 for marks from 0 to 10."""
    score: ConditionText | None = None
    """Where the score stands, as an expression over `judgement`. Default: the answer, or its field `score`."""


class CheckConfig(Settings):
    """One check of an answer. It has exactly one of the keys from `contains` to `judge`."""

    contains: TemplateText | list[TemplateText] | None = None
    """A text, or several, that must be in it."""
    not_contains: TemplateText | list[TemplateText] | None = None
    """A text, or several, none of which may be in it."""
    regex: Annotated[str, AfterValidator(_compilable)] | None = None
    """A regular expression (Python's) that must be found in it."""
    equals: ConditionText | bool | int | float | None = None
    """What it must be: an expression, such as `input.expected` or `'yes'`; texts without outer white space."""
    json_schema: Annotated[dict[str, Any], AfterValidator(checked_schema)] | None = None
    """A JSON Schema that it must fit; text is parsed as JSON first."""
    range: RangeConfig | None = None
    """Bounds of a number."""
    similar: SimilarConfig | None = None
    """Another text that it must come near to."""
    condition: ConditionText | None = None
    """An expression that must hold, such as `output | length < 300`."""
    judge: JudgeConfig | None = None
    """An agent that scores it: a call like any other, retried, limited, traced and paid for."""
    of: ConditionText | None = None
    """What is checked, as an expression. Default: `output`, the whole answer."""
    ignore_case: bool = False
    """For `contains`, `not_contains`, `regex`, `equals` and `similar`."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> CheckConfig:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = f"not {' and '.join(given)}" if given else "and this has none"
            raise ValueError(f"a check has exactly one of {', '.join(KINDS)}: {said}")
        return self

    @property
    def kind(self) -> str:
        """The key that it has."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


class ThresholdConfig(Settings):
    """What a check must come to over the whole run; otherwise the run has failed."""

    min: float | None = Field(default=None, ge=0, le=1)
    """The least share of items that pass: 0.9 for nine of ten."""
    mean_score: float | None = Field(default=None, ge=0)
    """The least mean of the scores."""
