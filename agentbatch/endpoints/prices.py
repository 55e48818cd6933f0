"""What tokens cost: the price given in the config, or the one published for the model's name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from agentbatch.messages import Usage
from agentbatch.record import record


@record
class Rates:
    """US dollars per token, for requests of more than `above` input tokens."""

    input: float
    output: float
    cached_input: float
    cache_write: float
    above: int = 0

    def cost(self, usage: Usage) -> float:
        """US dollars for these tokens; cached and cache-writing ones at their own price."""
        plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        return (
            max(0, plain) * self.input
            + usage.cached_tokens * self.cached_input
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        )


@record
class Tariff:
    """A model's price. Providers that charge more for long prompts have several steps; the whole request pays the step
    it reaches."""

    steps: tuple[Rates, ...]
    known = True

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where the provider counted none, unless they are free."""
        rates = self.steps[0]
        if not usage.input_tokens and not usage.output_tokens:
            return None if rates.input or rates.output else 0.0
        for step in self.steps[1:]:
            if usage.input_tokens > step.above:
                rates = step
        return rates.cost(usage)


def rates(
    prompt: float, answer: float, cached_input: float | None = None, cache_write: float | None = None, above: int = 0
) -> Rates:
    """Rates from US dollars per 1M tokens of prompt and answer."""
    cached = prompt if cached_input is None else cached_input
    written = prompt if cache_write is None else cache_write
    return Rates(prompt / 1e6, answer / 1e6, cached / 1e6, written / 1e6, above)


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


class HalfPrice:
    """What the same costs in a provider's batch."""

    def __init__(self, whole: Pricing) -> None:
        self._whole = whole

    @property
    def known(self) -> bool:
        """Whether there is a price at all."""
        return self._whole.known

    def cost(self, usage: Usage) -> float | None:
        """US dollars for one request's tokens; None where the price is not known."""
        cost = self._whole.cost(usage)
        return None if cost is None else cost / 2


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
    parts = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    if parts[0] is None or parts[1] is None:
        return None
    return Tariff(tuple(_rates_above(parts, above) for above in _thresholds(parts)))


def _thresholds(parts: Sequence[Any]) -> list[int]:
    tiers = [tier.start for part in parts for tier in getattr(part, "tiers", ())]
    return [0, *sorted(set(tiers))]


def _rates_above(parts: Sequence[Any], above: int) -> Rates:
    numbers = [None if part is None else _price_above(part, above) for part in parts]
    return rates(numbers[0] or 0.0, numbers[1] or 0.0, numbers[2], numbers[3], above)


def _price_above(part: Any, above: int) -> float:
    if not hasattr(part, "tiers"):
        return float(part)
    reached = [tier.price for tier in part.tiers if tier.start <= above]
    return float(reached[-1] if above and reached else part.base)
