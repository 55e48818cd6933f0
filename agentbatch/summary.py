"""How a run ended, as data (`--summary`, `--json`) and as the text that every end prints."""

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
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import listing
from agentbatch.text.table import aligned
from agentbatch.time_book import BoundTime, in_words

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary

Verdict = Literal["ok", "failed", "stopped", "interrupted"]

SUMMARY_VERSION = 1

_WIDTH = 80
_MOST_AGENTS = 20
_MOST_ERRORS = 10


@record
class Audit:
    """What a continued run came to.

    Attributes:
        missing: items without a result line; None where their number is not known.
        paid_twice: what was made again because an earlier run broke off, over all runs of this output; None where it is
            not known, because the machine or the container is not the same any more.
    """

    missing: int | None
    paid_twice: PaidTwice | None


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
        return _failures(self.counts)


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
    if summary.audit is not None and summary.audit.paid_twice is not None:
        document["audit"]["paid_twice"]["cost_usd"] = _known_cost(summary.audit.paid_twice)
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


def render_summary(summary: Summary, color: bool) -> str:
    """The end-of-run text: the verdict first, last the command that continues. For 80 columns; ends in a newline."""
    blocks = [
        _verdict(summary, color),
        _error_lines(summary),
        _check_lines(summary),
        _agent_table(summary),
        _facts(summary),
    ]
    if summary.continue_command:
        blocks.append(["Continue with:", f"  {visible(summary.continue_command, 4000)}"])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def verdict_line(summary: Summary) -> str:
    """The run in a sentence or two: `12 of 2,000 items failed, in 1m 23s. Below its threshold: right.`"""
    return " ".join([_items_sentence(summary), *_missed_sentence(summary)])


def _missed_sentence(summary: Summary) -> list[str]:
    """The checks that did not come to what the config asks for. A run that was stopped has not had its chance."""
    missed = [check for check in summary.checks if not check.met]
    if not missed or summary.verdict in ("stopped", "interrupted"):
        return []
    names = listing((visible(check.name, 40) for check in missed), 5)
    return [f"Below {'their thresholds' if len(missed) > 1 else 'its threshold'}: {names}."]


def _items_sentence(summary: Summary) -> str:
    done, failed, took = figures.count(summary.done), summary.failed, figures.span_of_time(summary.wall_s)
    if summary.verdict in ("stopped", "interrupted"):
        why = f": {visible(summary.stop_reason, 300)}" if summary.stop_reason else ""
        done_by_now = summary.done + sum(summary.before.values())
        of = "" if summary.total is None else f"{figures.count(done_by_now)} of "
        items = figures.counted(done_by_now if summary.total is None else summary.total, "item")
        lost = f", {figures.count(failed)} of this run's failed" if failed else ""
        return f"{summary.verdict.capitalize()}{why}. {of}{items} done{lost}."
    if not summary.done:
        return _nothing_run(summary)
    if failed:
        who = "The one item" if summary.done == 1 else f"{figures.count(failed)} of {done} items"
        return f"{who} failed, in {took}."
    if skipped := summary.counts.get("skipped", 0):
        succeeded = figures.counted(summary.done - skipped, "item")
        return f"{succeeded} succeeded and {figures.counted(skipped, 'was', 'were')} skipped, in {took}."
    return f"{f'All {done} items' if summary.done > 1 else 'The one item'} succeeded, in {took}."


def _nothing_run(summary: Summary) -> str:
    before = sum(summary.before.values())
    if not before:
        return "There were no items."
    failed = _failures(summary.before)
    if before == 1:
        return f"Nothing left to do: the one item has a result{', and failed' if failed else ''}."
    rest = f", and {figures.count(failed)} of them failed" if failed else ""
    return f"Nothing left to do: all {figures.count(before)} items have a result{rest}."


def _failures(counts: Mapping[str, int]) -> int:
    return sum(number for status, number in counts.items() if status not in ("ok", "skipped"))


_STYLES = {"ok": "1;32", "failed": "1;31", "stopped": "1;33", "interrupted": "1;33"}


def _verdict(summary: Summary, color: bool) -> list[str]:
    line = verdict_line(summary)
    return [f"\x1b[{_STYLES[summary.verdict]}m{line}\x1b[0m" if color else line]


def _error_lines(summary: Summary) -> list[str]:
    shown = summary.errors[:_MOST_ERRORS]
    if not shown:
        return []
    width = max(len(figures.count(group.count)) for group in shown)
    lines = ["Errors"]
    for group in shown:
        agent = f", {visible(group.agent, 40)}" if group.agent else ""
        lines.append(f"  {figures.count(group.count):>{width}}  {visible(group.type, 40)}")
        lines.append(f"  {'':>{width}}  item {visible(group.item_id, 40)}{agent}: {visible(group.message, 300)}")
    if hidden := len(summary.errors) - len(shown):
        lines.append(f"  and {figures.counted(hidden, 'more kind')}")
    return lines


def _check_lines(summary: Summary) -> list[str]:
    if not summary.checks:
        return []
    rows = [("check", "passed", "failed", "share", "mean score", "")]
    for check in summary.checks:
        mean = "-" if check.mean_score is None else f"{check.mean_score:.3f}"
        share = figures.percent(check.share) if check.passed + check.failed else "-"
        wanted = "" if check.met else f"missed: {wanted_of(check)}"
        counts = figures.count(check.passed), figures.count(check.failed)
        rows.append((visible(check.name, 30), *counts, share, mean, wanted))
    return [f"  {line}" for line in aligned(rows, left=(0, 5))]


def wanted_of(check: CheckCount) -> str:
    """What a threshold asks for: `share of 95%`."""
    parts = [] if check.least_share is None else [f"share of {figures.percent(check.least_share)}"]
    parts += [] if check.least_mean is None else [f"mean score of {check.least_mean:g}"]
    return " and ".join(parts)


_COLUMNS = ("agent", "ok", "failed", "retries", "cached", "p50", "p95", "tokens in", "out", "cost")
_DISPENSABLE = ("retries", "out", "tokens in", "p95", "cached")
"""Columns that go, in this order, where the table would be wider than `_WIDTH`."""


def _agent_table(summary: Summary) -> list[str]:
    agents = [agent for agent in summary.agents if agent.done or agent.failed or agent.skipped or agent.calls]
    if not agents:
        return []
    rows = [_COLUMNS, *(_agent_row(agent) for agent in agents[:_MOST_AGENTS])]
    columns = list(zip(*rows, strict=True))
    if not summary.cached:
        columns = [column for column in columns if column[0] != "cached"]
    for title in _DISPENSABLE:
        if _width(columns) <= _WIDTH:
            break
        columns = [column for column in columns if column[0] != title]
    lines = [_aligned(row, [_widest(column) for column in columns]) for row in zip(*columns, strict=True)]
    others = len(agents) - _MOST_AGENTS
    return [*lines, f"  and {figures.counted(others, 'more agent')}"] if others > 0 else lines


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(2 + _widest(column) for column in columns)


def _widest(column: Sequence[str]) -> int:
    return max(len(cell) for cell in column)


def _agent_row(agent: AgentStats) -> tuple[str, ...]:
    called = bool(agent.calls)
    return (
        visible(agent.name, 18),
        figures.count(agent.done),
        figures.count(agent.failed),
        figures.count(agent.retries) if called else "-",
        figures.count(agent.cached) if called else "-",
        figures.seconds(agent.p50_s),
        figures.seconds(agent.p95_s),
        figures.short_count(agent.input_tokens) if called else "-",
        figures.short_count(agent.output_tokens) if called else "-",
        (figures.money(agent.cost_usd) if agent.cost_known else "?") if called else "-",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if not at else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  " + "  ".join((first, *others))


def _facts(summary: Summary) -> list[str]:
    facts = [
        ("items", _items(summary)),
        ("time", f"{figures.span_of_time(summary.wall_s)}, {figures.rate(summary.items_per_s)} items/s"),
        *(("bound by" if not at else "", line) for at, line in enumerate(_bound_by(summary.bound_by))),
        ("tokens", f"{figures.count(summary.input_tokens)} in, {figures.count(summary.output_tokens)} out"),
        ("cached", _cached(summary)),
        ("cost", _cost(summary)),
        ("failing", failing(summary)),
        ("slowest", slowest(summary)),
        ("dearest", dearest(summary)),
        ("canary", _canary(summary.canary)),
        ("audit", _audit(summary.audit)),
        ("results", visible(summary.results or "", 4000)),
        ("traces", visible(summary.traces or "", 4000)),
        *(("note", visible(note, 500)) for note in summary.notes),
    ]
    return [f"  {name:<9}{value}" for name, value in facts if value]


def _bound_by(times: Sequence[BoundTime]) -> list[str]:
    """What the time went to, a line each: `62% rpm of model fast`."""
    told = in_words(one for one in times if one.what != "other")
    return [f"{share * 100:>3.0f}% {visible(words, 60)}" for words, share in told]


def bound_by(summary: Summary) -> str:
    """What the time went to, on one line."""
    return ", ".join(line.strip() for line in _bound_by(summary.bound_by))


def _items(summary: Summary) -> str:
    counts = sorted(summary.counts.items(), key=lambda one: one[0] != "ok")
    parts = [f"{figures.count(number)} {status}" for status, number in counts if number]
    text = ", ".join(parts) or "none run"
    if before := sum(summary.before.values()):
        failed = _failures(summary.before)
        text += f"; {figures.count(before)} before" + (f" ({figures.count(failed)} of them failed)" if failed else "")
    if summary.remaining:
        text += f"; {figures.count(summary.remaining)} to do"
    return text


def _canary(canary: Canary | None) -> str:
    """What the sample had said: to be compared with what the run came to."""
    if canary is None or not canary.others:
        return ""
    cost = canary.cost_usd
    told = "an unknown cost" if cost is None else figures.from_to(cost.low, cost.high, figures.money)
    time = figures.from_to(canary.seconds.low, canary.seconds.high, figures.span_of_time)
    return f"{figures.counted(canary.items, 'item')} said of the other {figures.count(canary.others)}: {told}, {time}"


def _audit(audit: Audit | None) -> str:
    if audit is None:
        return ""
    missing = "not known" if audit.missing is None else figures.count(audit.missing)
    twice = audit.paid_twice
    if twice is None:
        return f"missing: {missing}, paid twice: not known (the machine or container is not the earlier run's any more)"
    text = (
        f"missing: {missing}, paid twice: {figures.counted(twice.calls, 'call')}, {figures.money(_known_cost(twice))}"
    )
    if unsure := twice.calls - twice.answered:
        text += f" ({figures.count(unsure)} of them under way when the run broke off: perhaps not billed then)"
    return text + (f"; tools and commands run twice: {figures.count(twice.works)}" if twice.works else "")


def _known_cost(twice: PaidTwice) -> float | None:
    return None if twice.unpriced else twice.cost_usd


def failing(summary: Summary) -> str:
    """Which of several agents failed most often: `legal, 12 of 200; and 2 more agents`; empty where none did."""
    failed = sorted((agent for agent in summary.agents if agent.failed), key=lambda agent: -agent.failed)
    if not failed or len(summary.agents) < 2:
        return ""
    worst, others = failed[0], len(failed) - 1
    more = f"; and {figures.counted(others, 'more agent')}" if others else ""
    ended = worst.failed + worst.done
    return f"{visible(worst.name, 40)}, {figures.count(worst.failed)} of {figures.count(ended)}{more}"


def slowest(summary: Summary) -> str:
    """Which of several agents works longest: `writer, p95 3.42 s`; empty where there is nothing to compare."""
    timed = [(agent.p95_s, agent.name) for agent in summary.agents if agent.p95_s is not None]
    if len(timed) < 2:
        return ""
    seconds, name = max(timed)
    return f"{visible(name, 40)}, p95 {figures.seconds(seconds)}"


def dearest(summary: Summary) -> str:
    """Where most of the money goes: `writer, $1.37 of $2.78; model careful, $2.73`; empty where nothing costs."""
    parts = [(_dearest_of(summary.agents), ""), (_dearest_of(summary.models), "model ")]
    told = [
        f"{word}{visible(one.name, 40)}, {figures.money(one.cost_usd)} ({figures.percent(share)})"
        for (one, share), word in ((found, word) for found, word in parts if found is not None)
    ]
    return "; ".join(told)


def _dearest_of(rows: Sequence[AgentStats]) -> tuple[AgentStats, float] | None:
    """The dearest of several, and its share of the known cost."""
    paid = [row for row in rows if row.cost_usd]
    if len(paid) < 2:
        return None
    most = max(paid, key=lambda row: row.cost_usd)
    return most, most.cost_usd / sum(row.cost_usd for row in paid)


def _cached(summary: Summary) -> str:
    if not summary.cached:
        return ""
    calls = figures.counted(summary.calls, "call")
    return f"{figures.count(summary.cached)} of {calls} came from the cache, and cost nothing"


def _cost(summary: Summary) -> str:
    if not summary.calls:
        return ""
    cost = figures.money(summary.cost_usd)
    if summary.cost_usd is None:
        known = f"{figures.money(summary.known_cost_usd)} and " if summary.known_cost_usd else ""
        cost = f"{known}calls without a known price (set price: on the model)"
    if summary.possibly_billed:
        cost += f"; up to {figures.count(summary.possibly_billed)} failed attempts may be billed too"
    return cost
