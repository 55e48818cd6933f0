"""How a run ended, as the text that every end prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentbatch.checks.counts import CheckCount
from agentbatch.progress.tally import AgentStats
from agentbatch.text import figures
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import listing
from agentbatch.text.table import aligned
from agentbatch.time_book import BoundTime, in_words

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary
from agentbatch.summary.outcome import Audit, Summary, cost_if_known, failures_in

_WIDTH = 80
_MOST_AGENTS = 20
_MOST_ERRORS = 10


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
    failed = failures_in(summary.before)
    if before == 1:
        again = ", and failed (again: --retry-failed)" if failed else ""
        return f"Nothing left to do: the one item has a result{again}."
    rest = f", and {figures.count(failed)} of them failed (again: --retry-failed)" if failed else ""
    return f"Nothing left to do: all {figures.count(before)} items have a result{rest}."


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
        failed = failures_in(summary.before)
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
        other_machine = "the machine or container is not the earlier run's any more"
        why = "calls are made by workers, which do not note what they begin" if audit.made_afar else other_machine
        return f"missing: {missing}, paid twice: not known ({why})"
    text = (
        f"missing: {missing}, paid twice: {figures.counted(twice.calls, 'call')}, {figures.money(cost_if_known(twice))}"
    )
    if unsure := twice.calls - twice.answered:
        text += f" ({figures.count(unsure)} of them under way when the run broke off: perhaps not billed then)"
    return text + (f"; tools and commands run twice: {figures.count(twice.works)}" if twice.works else "")


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
