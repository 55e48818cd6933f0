"""The lines of the results file: how one is written, and what a file of them says is finished.

Every line is strict JSON (RFC 8259), whatever an agent gave back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agentbatch.files.plain_json import dump_line
from agentbatch.inputs import BadLine
from agentbatch.items import Failure, Item, ItemResult, Result
from agentbatch.messages import Usage
from agentbatch.results.openai_batch import OutputFormat, as_batch_line
from agentbatch.step import POSSIBLY_BILLED

FLOW_KINDS = frozenset({"sequence", "parallel", "loop", "iteration", "route", "condition", "graph", "for_each"})
"""Steps of these kinds are made of others: whose outputs stand in the line, so theirs does not."""


def encode_result(
    ended: ItemResult,
    include: frozenset[str] = frozenset({"agents", "usage"}),
    shape: OutputFormat = "agentbatch",
) -> bytes:
    """One result line with its newline. Never fails: what is no JSON becomes the nearest thing that is.

    Args:
        include: the optional parts: `agents` (every step's own result), `usage` (tokens and requests).
        shape: `openai-batch`: as the output of OpenAI's Batch API, without `agents`.
    """
    item, result = ended.item, ended.result
    line: dict[str, Any] = {
        "id": item.id,
        "index": item.index,
        "status": result.status,
        "output": result.output,
        "error": None if result.error is None else _failure(result.error),
        "trace_id": ended.trace_id,
    }
    if is_truncated(result):
        line["truncated"] = True
    if checks := checks_of(result):
        line["checks"] = checks
    with_usage = "usage" in include
    if "agents" in include and shape == "agentbatch":
        agents: dict[str, Any] = {}
        _add_steps(agents, result.steps, with_usage)
        line["agents"] = agents
    if with_usage:
        line["usage"] = _usage(result.usage)
    line["cost_usd"] = _dollars(result.cost_usd)
    if POSSIBLY_BILLED in result.extra:
        line[POSSIBLY_BILLED] = _dollars(result.extra[POSSIBLY_BILLED])
    line["started_at"] = format_time(ended.started_ns)
    line["queued_s"] = round(result.queued_s, 6)
    line["duration_s"] = round(result.duration_s, 6)
    if shape == "openai-batch":
        line = as_batch_line(line, ended.started_ns // 1_000_000_000)
    return dump_line(line)


def is_truncated(result: Result) -> bool:
    """Whether an answer in it, of an agent below, was cut by `max_tokens`."""
    return any(step.extra.get("truncated") or (step.steps and is_truncated(step)) for step in result.steps.values())


def checks_of(result: Result) -> dict[str, Any]:
    """The verdicts of an item's checks by name, an agent's with its name before theirs. Of one name the last counts."""
    found: dict[str, Any] = {}
    _add_checks(found, result.steps)
    return {**result.extra.get("checks", {}), **found}


def _add_checks(found: dict[str, Any], steps: Mapping[str, Result]) -> None:
    for step in steps.values():
        agent = step.name.partition("[")[0]
        found |= {f"{agent}.{name}": verdict for name, verdict in step.extra.get("checks", {}).items()}
        if step.steps:
            _add_checks(found, step.steps)


def bad_line_result(bad: BadLine, trace_id: str, started_ns: int) -> ItemResult:
    """The end of an input line that never became an item."""
    failed = Result("error", error=Failure("input", bad.message))
    return ItemResult(Item(bad.id, bad.index, None, bad.line), trace_id, started_ns, failed)


def format_time(unix_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return f"{_format_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=16)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _add_steps(agents: dict[str, Any], steps: Mapping[str, Result], with_usage: bool) -> None:
    for path, step in steps.items():
        if not (step.left_out and path in agents):  # it was left out in one place, and ran in another
            agents[path] = _step(step, with_usage)
        if step.steps:
            _add_steps(agents, step.steps, with_usage)


def _step(step: Result, with_usage: bool) -> dict[str, Any]:
    error = None if step.error is None else _failure(step.error)
    fields: dict[str, Any]
    if step.kind in FLOW_KINDS:
        fields = {"kind": step.kind, "status": step.status, "error": error}
        if step.tolerated:  # its output is the config's `default`, which no member gave
            fields["output"] = step.output
    else:
        fields = {"status": step.status, "output": step.output, "error": error}
    if step.tolerated:
        fields["tolerated"] = True
    fields["attempts"] = step.attempts
    fields["queued_s"] = round(step.queued_s, 6)
    fields["duration_s"] = round(step.duration_s, 6)
    if with_usage:
        fields["usage"] = _usage(step.usage)
    fields["cost_usd"] = _dollars(step.cost_usd)
    for name, value in step.extra.items():
        fields.setdefault(name, value)
    return fields


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "type": failure.type,
        "message": failure.message,
        "agent": failure.agent,
        "http_status": failure.http_status,
        "attempts": failure.attempts,
    }


def _usage(usage: Usage) -> dict[str, int]:
    fields = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "requests": usage.requests,
    }
    if usage.cached_tokens:
        fields["cached_tokens"] = usage.cached_tokens
    if usage.cache_write_tokens:
        fields["cache_write_tokens"] = usage.cache_write_tokens
    if usage.cache_write_1h_tokens:
        fields["cache_write_1h_tokens"] = usage.cache_write_1h_tokens
    if usage.reasoning_tokens:
        fields["reasoning_tokens"] = usage.reasoning_tokens
    return fields


def _dollars(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 10)
