"""What tokens cost: the price given in the config, or the one published for the model's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from agentbatch.messages import Usage
from agentbatch.record import record

HALF = 0.5
"""What OpenAI's and Anthropic's batches cost, compared to ordinary requests: of every kind of token."""

_PUBLISHED = {
    "prompt": "input_mtok",
    "answer": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "request": "requests_kcount",
}
"""What the catalogue calls our rates."""


@record
class Rates:
    """US dollars per token, and for each `request`, of requests of more than `above` input tokens."""

    input: float
    output: float
    cached_input: float
    cache_write: float
    cache_write_1h: float
    reasoning: float
    request: float = 0.0
    above: int = 0

    def cost(self, usage: Usage) -> float:
        """US dollars for one request's tokens; what was read from or written to a cache, and reasoning, at its price.

        A count of a part that is more than the whole is taken for the whole.
        """
        written = min(usage.cache_write_tokens, usage.input_tokens)
        written_1h = min(usage.cache_write_1h_tokens, written)
        cached = min(usage.cached_tokens, usage.input_tokens - written)
        reasoning = min(usage.reasoning_tokens, usage.output_tokens)
        return (
            (usage.input_tokens - cached - written) * self.input
            + cached * self.cached_input
            + (written - written_1h) * self.cache_write
            + written_1h * self.cache_write_1h
            + (usage.output_tokens - reasoning) * self.output
            + reasoning * self.reasoning
            + self.request
        )

    def most(self, usage: Usage) -> float:
        """US dollars for so many tokens at most: all of the prompt written to a cache, all of the answer reasoning."""
        prompt = max(self.input, self.cache_write, self.cache_write_1h)
        return usage.input_tokens * prompt + usage.output_tokens * max(self.output, self.reasoning) + self.request


@record
class Tariff:
    """A model's price. Providers that charge more for long prompts have several steps; the whole request pays the step
    it reaches."""

    steps: tuple[Rates, ...]
    known = True

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where its prompt was not counted, unless that is free."""
        rates = self.steps[0]
        if not usage.input_tokens and (rates.input or (rates.output and not usage.output_tokens)):
            return None
        return self._reached(usage).cost(usage)

    def most(self, usage: Usage) -> float | None:
        """US dollars for one request that takes so many tokens, at most."""
        return self._reached(usage).most(usage)

    def _reached(self, usage: Usage) -> Rates:
        reached = self.steps[0]
        for step in self.steps:
            if usage.input_tokens > step.above:
                reached = step
        return reached


def rates(
    prompt: float,
    answer: float,
    cached_input: float | None = None,
    cache_write: float | None = None,
    *,
    cache_write_1h: float | None = None,
    reasoning: float | None = None,
    request: float | None = None,
    above: int = 0,
) -> Rates:
    """Rates from US dollars per 1M tokens of prompt and answer, and per request. What is None costs as its kind."""
    cached = prompt if cached_input is None else cached_input
    written = prompt if cache_write is None else cache_write
    written_1h = written if cache_write_1h is None else cache_write_1h
    thought = answer if reasoning is None else reasoning
    return Rates(
        prompt / 1e6,
        answer / 1e6,
        cached / 1e6,
        written / 1e6,
        written_1h / 1e6,
        thought / 1e6,
        request or 0.0,
        above,
    )


class PublishedTariff:
    """The published price of a model, looked up when it is first asked for: the catalogue takes 60 ms to load, and the
    first requests need not wait for it."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where the price is not known."""
        tariff = self._tariff
        return None if tariff is None else tariff.cost(usage)

    def most(self, usage: Usage) -> float | None:
        """US dollars for one request that takes so many tokens, at most; None where the price is not known."""
        tariff = self._tariff
        return None if tariff is None else tariff.most(usage)

    @property
    def known(self) -> bool:
        """Whether there is a price at all."""
        return self._tariff is not None

    @cached_property
    def _tariff(self) -> Tariff | None:
        return published_tariff(self._provider, self._model)


class Pricing(Protocol):
    """What a request costs."""

    @property
    def known(self) -> bool:
        """Whether there is a price at all."""
        ...

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where the price is not known."""
        ...

    def most(self, usage: Usage) -> float | None:
        """US dollars for one request that takes so many tokens, at most; None where the price is not known."""
        ...


class BatchPrice:
    """What the same costs in a provider's batch: a `share` of the ordinary price."""

    def __init__(self, whole: Pricing, share: float = HALF) -> None:
        self._whole = whole
        self._share = share

    @property
    def known(self) -> bool:
        """Whether there is a price at all."""
        return self._whole.known

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where the price is not known."""
        cost = self._whole.cost(usage)
        return None if cost is None else cost * self._share

    def most(self, usage: Usage) -> float | None:
        """US dollars for one request that takes so many tokens, at most; None where the price is not known."""
        most = self._whole.most(usage)
        return None if most is None else most * self._share


def published_tariff(provider: str, model: str) -> Tariff | None:
    """The published price of a model by its name, or None where it is not known.

    From the data that ships with genai-prices (https://github.com/pydantic/genai-prices); nothing is fetched.
    """
    from genai_prices import data_snapshot  # late: it loads a catalogue of every model

    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    price = found.get_prices(datetime.now(UTC))
    parts = {name: getattr(price, published, None) for name, published in _PUBLISHED.items()}
    if parts["prompt"] is None or parts["answer"] is None:
        return None
    return Tariff(tuple(_rates_above(parts, above) for above in _thresholds(tuple(parts.values()))))


def _thresholds(parts: Sequence[Any]) -> list[int]:
    tiers = [tier.start for part in parts for tier in getattr(part, "tiers", ())]
    return [0, *sorted(set(tiers))]


def _rates_above(parts: Mapping[str, Any], above: int) -> Rates:
    numbers = {name: _price_above(part, above) for name, part in parts.items() if part is not None}
    prompt, answer = numbers.pop("prompt"), numbers.pop("answer")
    request = numbers.pop("request", 0.0) / 1000
    return rates(prompt, answer, **numbers, request=request, above=above)


def _price_above(part: Any, above: int) -> float:
    if not hasattr(part, "tiers"):
        return float(part)
    reached = [tier.price for tier in part.tiers if tier.start <= above]
    return float(reached[-1] if above and reached else part.base)
