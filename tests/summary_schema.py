"""The JSON summary of version 1 as a JSON Schema: what scripts read, so no name in it may go or change its meaning."""

from __future__ import annotations

from typing import Any

NUMBER: dict[str, Any] = {"type": "number", "minimum": 0}
WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}


def maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def fields(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def by_name(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


CAUSES = [
    "tpm", "rpm", "concurrency", "window", "cool_down", "budget", "back_off", "provider", "work", "cpu", "disk",
    "inputs", "other",
]  # fmt: skip
AGENT = fields(
    ok=WHOLE,
    failed=WHOLE,
    skipped=WHOLE,
    calls=WHOLE,
    retries=WHOLE,
    cached=WHOLE,
    p50_s=maybe(NUMBER),
    p95_s=maybe(NUMBER),
    queued_p95_s=maybe(NUMBER),
    input_tokens=WHOLE,
    output_tokens=WHOLE,
    cost_usd=maybe(NUMBER),
)
MODEL = fields(
    ok=WHOLE,
    failed=WHOLE,
    retries=WHOLE,
    p50_s=maybe(NUMBER),
    p95_s=maybe(NUMBER),
    input_tokens=WHOLE,
    output_tokens=WHOLE,
    cost_usd=maybe(NUMBER),
)
CHECK = fields(
    passed=WHOLE,
    failed=WHOLE,
    share=NUMBER,
    mean_score=maybe({"type": "number"}),
    min=maybe(NUMBER),
    min_mean_score=maybe({"type": "number"}),
    met={"type": "boolean"},
)
PAID_TWICE = fields(calls=WHOLE, answered=WHOLE, unpriced=WHOLE, works=WHOLE, cost_usd=maybe(NUMBER))
RANGE = fields(low=NUMBER, high=maybe(NUMBER))
ESTIMATE = fields(expected=NUMBER, low=NUMBER, high=maybe(NUMBER))
CANARY = fields(
    items=WHOLE,
    failed=WHOLE,
    others=WHOLE,
    spent_usd=NUMBER,
    cost_usd=maybe(ESTIMATE),
    seconds=ESTIMATE,
    bound_by=TEXT,
    planned=fields(cost_usd=maybe(RANGE), seconds=RANGE, bound_by=TEXT),
    max_cost=maybe(NUMBER),
    against={"type": "array", "items": TEXT},
    went_on={"type": "boolean"},
)
SUMMARY_SCHEMA = fields(
    version={"const": 1},
    verdict={"enum": ["ok", "failed", "stopped", "interrupted"]},
    exit_code=WHOLE,
    total=maybe(WHOLE),
    before=by_name(WHOLE),
    counts=by_name(WHOLE),
    remaining=maybe(WHOLE),
    errors={
        "type": "array",
        "items": fields(type=TEXT, count=WHOLE, example=fields(id=TEXT, message=TEXT, agent=maybe(TEXT))),
    },
    agents=by_name(AGENT),
    started_at={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
    wall_s=NUMBER,
    input_tokens=WHOLE,
    output_tokens=WHOLE,
    calls=WHOLE,
    retries=WHOLE,
    cost_usd=maybe(NUMBER),
    known_cost_usd=NUMBER,
    possibly_billed=WHOLE,
    items_per_s=NUMBER,
    results=maybe(TEXT),
    traces=maybe(TEXT),
    continue_command=maybe(TEXT),
    stop_reason=maybe(TEXT),
    notes={"type": "array", "items": TEXT},
    checks=by_name(CHECK),
    audit=maybe(fields(missing=maybe(WHOLE), paid_twice=maybe(PAID_TWICE))),
    bound_by={
        "type": "array",
        "items": fields(what={"enum": CAUSES}, who=TEXT, seconds=NUMBER, share=NUMBER),
    },
    cached=WHOLE,
    models=by_name(MODEL),
    canary=maybe(CANARY),
)
