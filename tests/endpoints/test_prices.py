"""What requests cost: examples worked by hand, and the same as the catalogue's own reckoning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from genai_prices import Usage as PublishedUsage
from genai_prices import calc_price

from agentbatch.build import planned_tariff, tariff_of
from agentbatch.endpoints.prices import BatchPrice, PublishedTariff, Tariff, published_tariff, rates
from agentbatch.messages import Usage
from agentbatch.models import anthropic, gemini, openai, openai_responses
from agentbatch.models.openai import OpenAIConfig

OPENAI = {
    "prompt_tokens": 2_000,
    "completion_tokens": 500,
    "prompt_tokens_details": {"cached_tokens": 1_536, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 320},
}
RESPONSES = {
    "input_tokens": 2_000,
    "output_tokens": 500,
    "input_tokens_details": {"cached_tokens": 1_536},
    "output_tokens_details": {"reasoning_tokens": 320},
}
ANTHROPIC = {
    "input_tokens": 100,
    "cache_read_input_tokens": 10_000,
    "cache_creation_input_tokens": 3_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000},
    "output_tokens": 400,
}
GEMINI = {
    "promptTokenCount": 5_000,
    "cachedContentTokenCount": 4_000,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 800,
    "totalTokenCount": 6_000,
}
WORKED: dict[str, tuple[str, str, Usage, float]] = {
    # gpt-4o-mini: 0.15 in, 0.60 out, 0.075 cached; reasoning is output
    "openai": ("openai", "gpt-4o-mini", openai.usage_of({"usage": OPENAI}), 464 * 0.15 + 1_536 * 0.075 + 500 * 0.6),
    "openai-responses": (
        "openai",
        "gpt-4o-mini",
        openai_responses.usage_of({"usage": RESPONSES}),
        464 * 0.15 + 1_536 * 0.075 + 500 * 0.6,
    ),
    # claude-sonnet-4-5: 3 in, 15 out, 0.30 read, 3.75 written for 5 minutes, 6 for an hour; cached are beside the input
    "anthropic": (
        "anthropic",
        "claude-sonnet-4-5",
        anthropic.usage_of({"usage": ANTHROPIC}),
        100 * 3 + 10_000 * 0.3 + 1_000 * 3.75 + 2_000 * 6 + 400 * 15,
    ),
    # gemini-2.5-flash: 0.30 in, 2.50 out, 0.03 cached; thoughts are beside the candidates, and cost as output
    "gemini": (
        "google",
        "gemini-2.5-flash",
        gemini.usage_of({"usageMetadata": GEMINI}),
        1_000 * 0.3 + 4_000 * 0.03 + 1_000 * 2.5,
    ),
}


@pytest.mark.parametrize("name", WORKED)
def test_worked_examples_of_each_provider(name: str) -> None:
    provider, model, usage, millionths = WORKED[name]
    assert PublishedTariff(provider, model).cost(usage) == pytest.approx(millionths / 1e6)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5"),
        ("openai", "o3-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-3-5-haiku-latest"),
        ("google", "gemini-2.5-pro"),
    ],
)
@pytest.mark.parametrize("size", [1_000, 200_000, 200_001, 600_000])
def test_the_same_as_the_catalogue_reckons(provider: str, model: str, size: int) -> None:
    usage = Usage(size, size // 10, 1, cached_tokens=size // 4, reasoning_tokens=size // 20)
    theirs = PublishedUsage(input_tokens=size, output_tokens=size // 10, cache_read_tokens=size // 4)
    price = float(calc_price(theirs, model, provider_id=provider).total_price)
    assert PublishedTariff(provider, model).cost(usage) == pytest.approx(price)


def test_a_price_for_each_request_counts() -> None:
    """Perplexity's sonar: 1 in, 1 out, and 12 dollars for a thousand requests."""
    assert PublishedTariff("perplexity", "sonar").cost(Usage(1_000, 100, 1)) == pytest.approx(0.0011 + 0.012)


def config(**price: Any) -> OpenAIConfig:
    return OpenAIConfig.model_validate_json(
        json.dumps({"provider": "openai", "model": "m", "price": {"input": 1, "output": 10, **price}})
    )


USAGE = Usage(1_000, 100, 1, cached_tokens=200, cache_write_tokens=300, reasoning_tokens=40, cache_write_1h_tokens=50)


@pytest.mark.parametrize(
    ("price", "millionths"),
    [
        ({}, 1_000 * 1 + 100 * 10),
        ({"cached_input": 0.1}, 800 * 1 + 200 * 0.1 + 100 * 10),
        ({"cache_write": 2}, 700 * 1 + 300 * 2 + 100 * 10),
        ({"cache_write": 2, "cache_write_1h": 4}, 700 * 1 + 250 * 2 + 50 * 4 + 100 * 10),
        ({"reasoning": 5}, 1_000 * 1 + 60 * 10 + 40 * 5),
        ({"request": 0.01}, 1_000 * 1 + 100 * 10 + 10_000),
    ],
)
def test_every_price_of_the_config_counts(price: dict[str, float], millionths: float) -> None:
    tariff = tariff_of(config(**price))
    assert tariff is not None
    assert tariff.cost(USAGE) == pytest.approx(millionths / 1e6)
    assert (tariff.most(USAGE) or 0) >= millionths / 1e6, "what is set aside is never less"


@pytest.mark.parametrize(("price", "share"), [({}, 0.5), ({"batch": 0.8}, 0.8)])
def test_batches_cost_their_share_in_the_plan_and_in_the_run(price: dict[str, float], share: float) -> None:
    made = config(**price)
    whole, half = tariff_of(made), planned_tariff(made.model_copy(update={"provider_batch": True}))
    assert whole is not None
    assert half is not None
    assert (half.cost(USAGE), half.most(USAGE)) == pytest.approx(
        (share * (whole.cost(USAGE) or 0), share * (whole.most(USAGE) or 0))
    )
    plain = planned_tariff(made)
    assert plain is not None
    assert plain.cost(USAGE) == whole.cost(USAGE)


def test_batches_of_anthropic_halve_every_kind_of_token() -> None:
    provider, model, usage, millionths = WORKED["anthropic"]
    assert BatchPrice(PublishedTariff(provider, model)).cost(usage) == pytest.approx(millionths / 2e6)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(100, 10, 1, cached_tokens=10**9),
        Usage(100, 10, 1, cache_write_tokens=10**9, cache_write_1h_tokens=10**9),
        Usage(100, 10, 1, reasoning_tokens=10**9),
        Usage(100, 10, 1, cached_tokens=80, cache_write_tokens=80),
    ],
)
def test_a_part_is_never_more_than_the_whole(usage: Usage) -> None:
    tariff = Tariff((rates(1.0, 1.0, 1.0, 1.0),))
    assert tariff.cost(usage) == pytest.approx(110e-6)


@pytest.mark.parametrize("usage", [Usage(0, 0, 1), Usage(0, 50, 1)])
def test_without_a_count_of_the_prompt_the_cost_is_not_known(usage: Usage) -> None:
    assert Tariff((rates(1.0, 2.0),)).cost(usage) is None
    assert Tariff((rates(0.0, 0.0),)).cost(usage) == 0.0


def test_what_has_no_price_has_none() -> None:
    assert published_tariff("openai", "nobody-knows-this-one") is None


@pytest.mark.parametrize("lie", [-5, "12", 12.5, 10**12, None, True, [1], {}])
def test_counts_that_can_be_none_are_not_believed(lie: Any) -> None:
    usage = openai.usage_of({"usage": {"prompt_tokens": lie, "completion_tokens": 7}})
    assert (usage.input_tokens, usage.output_tokens) == (0, 7)
    assert PublishedTariff("openai", "gpt-4o-mini").cost(usage) is None
