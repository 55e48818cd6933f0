"""A forecast for people, in lines of at most 80 columns, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentbatch.forecast.bounds import EVERYTHING, Bounds, Range
from agentbatch.plan.text import drawn, wrapped
from agentbatch.text import figures
from agentbatch.text.redact import visible

if TYPE_CHECKING:
    from agentbatch.config import Limits
    from agentbatch.forecast.reckoning import Forecast
    from agentbatch.forecast.to_do import ToDo
    from agentbatch.plan import Plan

FORECAST_VERSION = 1


def render_forecast(forecast: Forecast, to_do: ToDo, plan: Plan, limits: Limits, *, unicode: bool = True) -> str:
    """What the run will do, take and wait for, and what was assumed; ends in a newline."""
    lines = _fact("items", _items(to_do))
    if forecast.items:
        lines += _fact("calls", _calls(forecast))
        lines += _fact("tokens", _tokens(forecast.whole))
        lines += _fact("cost", _cost(forecast))
        lines += _fact("time", _time(forecast))
        lines += ["", *_model_table(forecast, plan)]
        notes = [*_warnings(forecast, to_do, limits), *_assumptions(forecast, plan)]
        lines += ["", *(line for note in notes for line in wrapped("  ", note))]
    return drawn("\n".join(lines) + "\n", unicode=unicode)


def _fact(name: str, value: str) -> list[str]:
    return wrapped(f"{name:<9}", value)


def _items(to_do: ToDo) -> str:
    text = f"{figures.count(to_do.items)} to do of {figures.count(to_do.total)}"
    if to_do.done:
        text += f"; {figures.count(to_do.done)} have a result"
    if to_do.bad:
        text += f"; {figures.count(to_do.bad)} can't be used, the first: {visible(to_do.problem, 300)}"
    return text


def _calls(forecast: Forecast) -> str:
    each, whole = forecast.item.get(EVERYTHING, Bounds()), forecast.whole
    in_all = figures.from_to(whole.low.calls, whole.high.calls, _whole)
    return f"{figures.from_to(each.low.calls, each.high.calls, _few)} an item, {in_all} in all"


def _tokens(bounds: Bounds) -> str:
    low, high = bounds
    return (
        f"{figures.from_to(low.input_tokens, high.input_tokens, figures.short_count)} in, "
        f"{figures.from_to(low.output_tokens, high.output_tokens, figures.short_count)} out"
    )


def _cost(forecast: Forecast) -> str:
    whole, worst = forecast.whole, forecast.worst
    known = figures.from_to(whole.low.usd, whole.high.usd, figures.money)
    if forecast.outside:
        rest = f"; {known} for the models" if whole.high.usd else ""
        return f"unknown: nobody knows what {', '.join(forecast.outside)} will cost{rest}"
    if forecast.unpriced:
        named = ", ".join(visible(name, 40) for name in forecast.unpriced)
        rest = f"; {known} for the other models" if whole.high.usd else ""
        return f"unknown: no price is known for {named} (set price: on the model){rest}"
    more = worst.usd > whole.high.usd * 1.005
    return known + (f"; up to {figures.money(worst.usd)} with every repair and fallback" if more else "")


def _time(forecast: Forecast) -> str:
    if not forecast.seconds.high:
        return "as fast as this machine goes: no model takes any time"
    return f"about {figures.from_to(*forecast.seconds, figures.span_of_time)}; bound by {forecast.constraints[0].name}"


def _model_table(forecast: Forecast, plan: Plan) -> list[str]:
    rows = [("model", "calls", "tokens in", "out", "cost")]
    for model in plan.models:
        bounds = forecast.spent.get(("model", model.name))
        if bounds is None:
            continue
        low, high = bounds
        rows.append(
            (
                visible(model.name, 20),
                figures.from_to(low.calls, high.calls, figures.short_count, " - "),
                figures.from_to(low.input_tokens, high.input_tokens, figures.short_count, " - "),
                figures.from_to(low.output_tokens, high.output_tokens, figures.short_count, " - "),
                "unknown"
                if model.name in forecast.unpriced
                else figures.from_to(low.usd, high.usd, figures.money, " - "),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.rjust(width) if at else cell.ljust(width)


def _warnings(forecast: Forecast, to_do: ToDo, limits: Limits) -> Iterator[str]:
    most = forecast.whole.high.usd + to_do.spent_usd
    if limits.max_cost is not None and most > limits.max_cost:
        spent = f", {figures.money(to_do.spent_usd)} of which earlier runs spent" if to_do.spent_usd else ""
        yield f"limits.max_cost, ${limits.max_cost:g}, may stop the run: it may cost {figures.money(most)}{spent}."
    if limits.timeout is not None and forecast.seconds.high > limits.timeout:
        yield f"limits.timeout, {figures.span_of_time(limits.timeout)}, may stop the run."


def _assumptions(forecast: Forecast, plan: Plan) -> Iterator[str]:
    assumed = forecast.assumed
    if forecast.sampled < forecast.items:
        yield f"Reckoned from {forecast.sampled} of these items, drawn by chance."
    share = f"{assumed.least_share:.0%}"
    text = f"Assumed: answers take {share} to all of the tokens that max_tokens allows them"
    if forecast.uncapped:
        least = assumed.answer_tokens * assumed.least_share
        named = ", ".join(visible(name, 40) for name in forecast.uncapped)
        text += f", {least:.0f} to {assumed.answer_tokens} where it is not set ({named})"
    if any(model.agents and model.provider != "mock" for model in plan.models):
        text += f"; a request takes {figures.span_of_time(assumed.latency_s)}"
    if forecast.lists:
        text += f"; lists that agents make have up to {assumed.elements} elements"
    if forecast.outside:
        yield f"Not reckoned with: the time and the tokens of {', '.join(forecast.outside)}."
    yield f"{text}. Failed requests and their retries come on top."


def _whole(number: float) -> str:
    return figures.count(round(number))


def _few(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")


def forecast_json(forecast: Forecast, to_do: ToDo, plan: Plan) -> dict[str, Any]:
    """The forecast as data. Ranges are `{low, high}`; a cost that nobody knows is null."""
    whole = forecast.whole
    return {
        "version": FORECAST_VERSION,
        "items": {"total": to_do.total, "done": to_do.done, "bad": to_do.bad, "to_do": to_do.items},
        "calls_per_item": {"least": plan.root.calls.least, "most": plan.root.calls.most},
        **_bounds_json(whole, known=forecast.cost is not None),
        "worst_cost_usd": None if forecast.cost is None else forecast.worst.usd,
        "seconds": _range_json(forecast.seconds),
        "bound_by": forecast.constraints[0].name if forecast.seconds.high else None,
        "models": {
            model.name: _bounds_json(bounds, known=model.name not in forecast.unpriced)
            for model in plan.models
            if (bounds := forecast.spent.get(("model", model.name))) is not None
        },
        "sampled": forecast.sampled,
    }


def _bounds_json(bounds: Bounds, *, known: bool) -> dict[str, Any]:
    low, high = bounds
    return {
        "calls": _range_json(Range(low.calls, high.calls)),
        "input_tokens": _range_json(Range(low.input_tokens, high.input_tokens)),
        "output_tokens": _range_json(Range(low.output_tokens, high.output_tokens)),
        "cost_usd": _range_json(Range(low.usd, high.usd)) if known else None,
    }


def _range_json(span: Range) -> dict[str, float]:
    return {"low": round(span.low, 6), "high": round(span.high, 6)}
