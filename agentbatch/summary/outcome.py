"""How a run ended, as data: what `--summary` and `--json` give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from agentbatch.checks.counts import CheckCount
from agentbatch.files.plain_json import to_plain
from agentbatch.kept.begun_calls import PaidTwice
from agentbatch.progress.tally import AgentStats, Counts, ErrorGroup
from agentbatch.record import record
from agentbatch.time_book import BoundTime

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary

Verdict = Literal["ok", "failed", "stopped", "interrupted"]

SUMMARY_VERSION = 1


@record
class Audit:
    """What a continued run came to.

    Attributes:
        missing: items without a result line; None where their number is not known.
        paid_twice: what was made again because an earlier run broke off, over all runs of this output; None where it is
            not known, because the machine or the container is not the same any more, or was never known.
        made_afar: whether workers make the calls, so that nobody notes here which have begun; not in the JSON.
    """

    missing: int | None
    paid_twice: PaidTwice | None
    made_afar: bool = False


@record
class Summary:
    """The end of a run. The field names are those of the JSON summary and stay as they are within a `version`.

    Attributes:
        version: of this format.
        verdict: `ok`; `failed` (some items did); `stopped` (by a limit or a breaker); `interrupted` (by a signal).
        exit_code: what the process returns.
        stop_reason: why the run ended before its items did; None where it did not.
        total: items asked for, those finished by earlier runs included; None where the inputs were not read to the end.
        before: result lines that earlier runs left, by status.
        counts: result lines that this run wrote, by status.
        remaining: items still to do; None where the total is unknown.
        errors: this run's failed items by error type, the most frequent first, each with one example.
        agents: this run's figures per agent; latencies are seconds of work.
        started_at: ISO 8601, UTC.
        wall_s: seconds from start to end.
        items_per_s: result lines of this run per second.
        input_tokens, output_tokens, calls, retries: sums over all agents of this run.
        cost_usd: US dollars of this run; None where a price is unknown.
        possibly_billed: attempts that failed in a way in which the provider may still have billed them.
        results, traces: the files; None where there is none.
        continue_command: what runs what is left; None where nothing is.
        notes: what else a person should know, a sentence each.
        checks: what the config's checks came to, over all items that have a result.
        audit: of a run that continued another one; None of one that did not.
        bound_by: what this run's wall time went to, the largest share first; see `time_book`. The shares add up to 1.
        cached: calls that the response cache answered, for nothing.
        canary: what the canary found, of a run with one; as JSON its estimates are `{expected, low, high}`.
        models: this run's figures per model, by its name in the config; what succeeded and failed are attempts.
    """

    verdict: Verdict
    exit_code: int
    total: int | None
    before: Mapping[str, int]
    counts: Mapping[str, int]
    remaining: int | None
    errors: Sequence[ErrorGroup]
    agents: Sequence[AgentStats]
    started_at: str
    wall_s: float
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    retries: int = 0
    cost_usd: float | None = 0.0
    known_cost_usd: float = 0.0
    possibly_billed: int = 0
    items_per_s: float = 0.0
    results: str | None = None
    traces: str | None = None
    continue_command: str | None = None
    stop_reason: str | None = None
    notes: Sequence[str] = field(default_factory=tuple[str, ...])
    checks: Sequence[CheckCount] = field(default_factory=tuple[CheckCount, ...])
    audit: Audit | None = None
    bound_by: Sequence[BoundTime] = field(default_factory=tuple[BoundTime, ...])
    cached: int = 0
    models: Sequence[AgentStats] = field(default_factory=tuple[AgentStats, ...])
    canary: Canary | None = None
    version: int = SUMMARY_VERSION

    @property
    def done(self) -> int:
        """Result lines of this run."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Result lines of this run that are neither a success nor left out by a condition."""
        return failures_in(self.counts)


def summarize(
    counts: Counts,
    *,
    verdict: Verdict,
    exit_code: int,
    started_at: str,
    total: int | None,
    before: Mapping[str, int] | None = None,
    written: Mapping[str, int] | None = None,
    results: str | None = None,
    traces: str | None = None,
    continue_command: str | None = None,
    stop_reason: str | None = None,
    notes: Sequence[str] = (),
    checks: Sequence[CheckCount] = (),
    audit: Audit | None = None,
    bound_by: Sequence[BoundTime] = (),
    canary: Canary | None = None,
) -> Summary:
    """Make a summary of a tally's last counts. `written` says what is on disk, where that is not all that ended."""
    before = dict(before or {})
    now = dict(written) if written is not None else {k: n for k, n in counts.items.items() if k != "stopped"}
    done = sum(now.values())
    return Summary(
        verdict=verdict,
        exit_code=exit_code,
        total=total,
        before=before,
        counts=now,
        remaining=None if total is None else max(0, total - sum(before.values()) - done),
        errors=counts.errors,
        agents=counts.agents,
        started_at=started_at,
        wall_s=counts.elapsed_s,
        items_per_s=done / counts.elapsed_s if counts.elapsed_s else 0.0,
        input_tokens=counts.total("input_tokens"),
        output_tokens=counts.total("output_tokens"),
        calls=counts.total("calls"),
        retries=counts.total("retries"),
        cost_usd=counts.cost_usd if counts.cost_known else None,
        known_cost_usd=counts.cost_usd,
        possibly_billed=counts.possibly_billed,
        results=results,
        traces=traces,
        continue_command=continue_command,
        stop_reason=stop_reason,
        notes=tuple(notes),
        checks=tuple(checks),
        audit=audit,
        bound_by=tuple(bound_by),
        cached=counts.total("cached"),
        models=counts.models,
        canary=canary,
    )


def summary_json(summary: Summary) -> bytes:
    """One JSON object and a newline. `errors[].example` is `{id, message, agent}`; an unknown cost is null."""
    document = asdict(summary)
    document = {"version": document.pop("version"), **document}
    document["errors"] = [
        {
            "type": group.type,
            "count": group.count,
            "example": {"id": group.item_id, "message": group.message, "agent": group.agent},
        }
        for group in summary.errors
    ]
    if summary.audit is not None:
        del document["audit"]["made_afar"]
    if summary.audit is not None and summary.audit.paid_twice is not None:
        document["audit"]["paid_twice"]["cost_usd"] = cost_if_known(summary.audit.paid_twice)
    if summary.canary is not None:
        document["canary"] |= _canary_json(summary.canary)
    document["checks"] = {check.name: check.document() for check in summary.checks}
    document["agents"] = {agent.name: _agent_json(agent) for agent in summary.agents}
    document["models"] = {model.name: _model_json(model) for model in summary.models}
    return orjson.dumps(to_plain(document), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _canary_json(canary: Canary) -> dict[str, Any]:
    """Its estimates by name; a bound that nobody knows is null."""
    cost, planned = canary.cost_usd, canary.planned
    return {
        "cost_usd": None if cost is None else cost._asdict(),
        "seconds": canary.seconds._asdict(),
        "planned": {
            "cost_usd": None if planned.cost_usd is None else planned.cost_usd._asdict(),
            "seconds": planned.seconds._asdict(),
            "bound_by": planned.bound_by,
        },
    }


def _agent_json(agent: AgentStats) -> dict[str, Any]:
    return {
        "ok": agent.done,
        "failed": agent.failed,
        "skipped": agent.skipped,
        "calls": agent.calls,
        "retries": agent.retries,
        "cached": agent.cached,
        "p50_s": agent.p50_s,
        "p95_s": agent.p95_s,
        "queued_p95_s": agent.queued_p95_s,
        "input_tokens": agent.input_tokens,
        "output_tokens": agent.output_tokens,
        "cost_usd": agent.cost_usd if agent.cost_known else None,
    }


def _model_json(model: AgentStats) -> dict[str, Any]:
    names = ("ok", "failed", "retries", "p50_s", "p95_s", "input_tokens", "output_tokens", "cost_usd")
    figures_of_it = _agent_json(model)
    return {name: figures_of_it[name] for name in names}


def failures_in(counts: Mapping[str, int]) -> int:
    """Of items by status, those that are neither a success nor left out by a condition."""
    return sum(number for status, number in counts.items() if status not in ("ok", "skipped"))


def cost_if_known(twice: PaidTwice) -> float | None:
    """US dollars; None where the price of any such call is not known."""
    return None if twice.unpriced else twice.cost_usd
