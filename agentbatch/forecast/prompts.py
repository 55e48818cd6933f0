"""How long the prompts of a run get, and what its conditions say, as far as an input alone tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import orjson

from agentbatch.endpoints.token_estimate import FILE_TOKENS, TokenEstimate
from agentbatch.errors import StepError
from agentbatch.forecast.bounds import Range
from agentbatch.items import Item
from agentbatch.messages import ChatRequest, Message
from agentbatch.record import record
from agentbatch.step_config import StepConfig
from agentbatch.templates import NOT_RUN, Condition, Template, Value

if TYPE_CHECKING:
    from agentbatch.config import Config

_KNOWN = frozenset({"input", "item", "vars", "each"})
"""Names whose values an input tells."""

_OUTPUT_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

_TOOL_TOKENS = 100
"""What the description of a tool takes."""

UNKNOWN: Any = object()
"""Stands for what depends on answers that nobody has yet."""


@record
class Assumptions:
    """What nobody can know before the run.

    Attributes:
        answer_tokens: the most tokens of an answer, where no parameter says it.
        least_share: the least, as a share of the most.
        latency_s: seconds that a request takes, except to a mock model, which says it.
        elements: the most elements of a list that an agent makes.
    """

    answer_tokens: int = 512
    least_share: float = 0.25
    latency_s: float = 2.0
    elements: int = 10


@record
class Lengths:
    """Tokens of one request, and of its answer."""

    prompt: Range
    answer: Range


class Prompts:
    """Renders and decides for one input after the other; every template is compiled once."""

    def __init__(self, config: Config, assumptions: Assumptions) -> None:
        self._config = config
        self._assumed = assumptions
        self._templates: dict[str, Template] = {}
        self._conditions: dict[str, Condition] = {}
        self._vars = [(name, Value(text)) for name, text in config.vars.items()]
        self._steps = dict.fromkeys((*config.agents, *config.groups), NOT_RUN)

    def names(self, item: Item) -> Mapping[str, Any]:
        """What templates see before anything has run."""
        names: dict[str, Any] = {**self._steps, "loop": {"index": 1, "history": []}, "members": []}
        names |= {"input": item.fields, "item": {"id": item.id, "index": item.index}}
        names["vars"] = {}
        for name, value in self._vars:
            try:
                names["vars"][name] = value.of(names)
            except StepError:  # it will be an error of that item
                continue
        return names

    def value(self, expression: str, names: Mapping[str, Any]) -> Any:
        """What an expression gives, or UNKNOWN."""
        condition = self._conditions.get(expression)
        if condition is None:
            condition = self._conditions[expression] = Condition(expression)
        read = {path[0] for path in condition.found.all}
        if not read <= _KNOWN or ("each" in read and "each" not in names):
            return UNKNOWN
        try:
            return condition.value(names)
        except StepError:  # an error of that item; or a value that a step will set
            return UNKNOWN

    def lengths(self, agent: StepConfig, names: Mapping[str, Any]) -> Lengths:
        """Of one request of an agent, and its answer."""
        answer = self.answer(agent)
        sources = _sources(agent)
        texts = [self._template(source) for source in sources]
        rendered = [_rendered(template, source, names) for template, source in zip(texts, sources, strict=True)]
        request = ChatRequest(tuple(Message("user", text) for text in rendered), self._params(agent))
        tokens = TokenEstimate().of(request).usage.input_tokens + _attached_tokens(agent)
        given = _model_knob(self._config, agent, "input_tokens")
        if given is not None:
            return Lengths(Range(given, given), answer)
        others = self._others(texts, len(cast("Sequence[Any]", names["members"])))
        return Lengths(Range(tokens + others.low, tokens + others.high), answer)

    def answer(self, step: StepConfig | None) -> Range:
        """Tokens of a step's answer: at most what its parameters allow, else what is assumed."""
        given = _model_knob(self._config, step, "output_tokens")
        if given is not None:
            return Range(given, given)
        cap = self.cap(step)
        most = self._assumed.answer_tokens if cap is None else cap
        return Range(most * self._assumed.least_share, most)

    def cap(self, step: StepConfig | None) -> int | None:
        """The most tokens that a step's parameters allow an answer; None where they don't say."""
        params = {} if step is None else self._params(step)
        return next((value for name in _OUTPUT_CAPS if isinstance(value := params.get(name), int)), None)

    def _params(self, step: StepConfig) -> dict[str, Any]:
        model = self._config.models.get(getattr(step, "model", None) or "")
        return {**({} if model is None else model.params), **(getattr(step, "params", None) or {})}

    def _others(self, texts: list[Template], members: int) -> Range:
        """Tokens of the answers that templates quote: each step's once, however many of its fields they read."""
        read = {path[0] for text in texts for path in text.found.all if path[1:2] in ((), ("output",))}
        answers = [self.answer(self._step(name)) for name in read if name in self._steps]
        if "members" in read:
            answers += [self.answer(None)] * members
        return Range(sum(each.low for each in answers), sum(each.high for each in answers))

    def _step(self, name: str) -> StepConfig:
        return self._config.agents[name] if name in self._config.agents else self._config.groups[name]

    def _template(self, source: str) -> Template:
        template = self._templates.get(source)
        if template is None:
            template = self._templates[source] = Template(source)
        return template


def _sources(agent: StepConfig) -> list[str]:
    """The templates that make up an agent's first request."""
    texts: list[str | None] = [getattr(agent, name, None) for name in ("instructions", "prompt")]
    texts += [part.text for part in getattr(agent, "content", ())]
    return [text for text in texts if text is not None]


def _rendered(template: Template, source: str, names: Mapping[str, Any]) -> str:
    """The text; where it needs an answer in a way that its absence can't stand for, the template's own length does."""
    try:
        return template.render(names)
    except StepError:
        return source


def _attached_tokens(agent: StepConfig) -> int:
    """What a request has beside its messages."""
    schema = getattr(agent, "output_schema", None)
    tools: Sequence[Any] = getattr(agent, "tools", None) or ()
    files = sum(part.text is None for part in getattr(agent, "content", ()))
    return (0 if schema is None else len(orjson.dumps(schema)) // 4) + _TOOL_TOKENS * len(tools) + FILE_TOKENS * files


def _model_knob(config: Config, step: StepConfig | None, name: str) -> int | None:
    """A figure that a mock model is told to report."""
    model = config.models.get(getattr(step, "model", None) or "")
    return getattr(model, name, None)
