"""One HTML page that needs nothing but a browser: figures in the head, data in packed blocks, one script, one style."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Any

import agentbatch
from agentbatch.checks.counts import CheckCount
from agentbatch.errors import StepError
from agentbatch.report.blocks import pack
from agentbatch.report.comparison import Comparison
from agentbatch.report.durations import BINS_PER_DECADE
from agentbatch.report.reading import ItemTable, RunFigures
from agentbatch.report.result_lines import STATUSES
from agentbatch.report.timelines import KINDS
from agentbatch.report.timelines import STATUSES as SPAN_STATUSES
from agentbatch.summary import Summary
from agentbatch.summary.text import verdict_line, wanted_of
from agentbatch.text import figures
from agentbatch.text.redact import visible

_SCRIPTS = ("text.js", "data.js", "charts.js", "overview.js", "comparison.js", "items.js", "item.js", "app.js")


def write_page(
    run: RunFigures, table: ItemTable, other: RunFigures | None = None, comparison: Comparison | None = None
) -> Iterator[bytes]:
    """The page, piece by piece. Nothing that a model or an input wrote is in it but escaped, or in base64."""
    style = _asset("style.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in _SCRIPTS) + "\n})();\n"
    blocks = {
        "run": [pack(_run_data(run, table, other, comparison))],
        "places": [pack({"places": list(table.places), "dead": list(table.dead)})],
        "rows": table.row_blocks,
        "texts": table.text_blocks,
        "timelines": table.timeline_blocks,
    }
    head, _, foot = _asset("template.html").partition("$blocks")
    words = _words(run, style, script)
    yield Template(head).substitute(words).encode()
    for name, packed in blocks.items():
        for number, block in enumerate(packed):
            yield f'<script type="application/gzip" id="{name}-{number}">'.encode()
            yield block
            yield b"</script>\n"
    yield Template(foot).substitute(words).encode()


def _asset(name: str) -> str:
    return resources.files("agentbatch.report").joinpath("assets", name).read_text("utf-8")


def _words(run: RunFigures, style: str, script: str) -> Mapping[str, str]:
    verdict = verdict_of(run)
    return {
        "csp": "; ".join(
            (
                "default-src 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "title": _html(f"{run.results.name}: {verdict}"),
        "name": _html(run.results.name),
        "verdict": _html(verdict),
        "tone": _tone(run),
        "facts": _facts(run),
        "version": _html(agentbatch.__version__),
        "style": style,
        "script": script,
    }


def _tone(run: RunFigures) -> str:
    """How the verdict is coloured."""
    if failed_of(run) or not all(check.met for check in run.checks):
        return "bad"
    return "good" if run.counts else "none"


def _hash(content: str) -> str:
    """The source expression that allows exactly this inline content (CSP level 3, section 6.7.3.3)."""
    return "sha256-" + b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _html(text: str) -> str:
    return escape(visible(text, 400))


def _facts(run: RunFigures) -> str:
    shown = "".join(_fact(*fact) for fact in facts(run))
    return f'<dl class="facts">{shown}</dl>' if shown else ""


def _fact(name: str, value: str, more: str) -> str:
    small = f"<small>{_html(more)}</small>" if more else ""
    return f"<div><dt>{_html(name)}</dt><dd>{_html(value)}{small}</dd></div>"


def failed_of(run: RunFigures) -> int:
    """Items whose last line is neither a success nor left out by a condition."""
    return sum(number for status, number in run.counts.items() if status not in ("ok", "skipped"))


def verdict_of(run: RunFigures) -> str:
    """The run in one sentence, as its summary in the terminal says it."""
    return verdict_line(
        Summary(
            verdict="failed" if failed_of(run) else "ok",
            exit_code=0,
            total=None,
            before={},
            counts=run.counts,
            remaining=None,
            errors=(),
            agents=(),
            started_at="",
            wall_s=run.course.active_s,
            checks=run.checks,
        )
    )


def facts(run: RunFigures) -> Iterator[tuple[str, str, str]]:
    """The figures in the head: what, how much, and what else to say of it."""
    items, active = len(run.book), run.course.active_s
    if not items:
        return
    parts = [f"{figures.count(number)} {status}" for status, number in run.counts.items() if status != "ok"]
    yield "Items", figures.count(items), ", ".join(parts) or "all ok"
    pauses = len(run.course.stretches) - 1
    rate = f"{figures.rate(items / active)} items/s" if active else ""
    yield "Time", figures.span_of_time(active), f"in {pauses + 1} sittings" if pauses > 0 else rate
    yield "Cost", figures.money(run.cost_usd), _cost_note(run)
    given, made = figures.short_count(run.input_tokens), figures.short_count(run.output_tokens)
    yield "Tokens", figures.short_count(run.input_tokens + run.output_tokens), f"{given} in, {made} out"
    retries = run.retries
    yield (
        "Requests",
        figures.count(run.requests),
        "" if retries is None else figures.counted(retries, "retry", "retries"),
    )
    yield "Item, p50", figures.seconds(run.work.p50), f"p95 {figures.seconds(run.work.p95)}"


def _cost_note(run: RunFigures) -> str:
    if run.unpriced:
        return f"no known price: {figures.counted(run.unpriced, 'item')}"
    if run.cost_usd and len(run.book):
        return f"{figures.money(run.cost_usd / len(run.book))} an item"
    return ""


def notes(run: RunFigures, table: ItemTable) -> Iterator[str]:
    """What a reader should know before trusting the figures, a sentence each."""
    if run.traces is None and run.lines:
        yield (
            "There are no traces beside the results, so attempts, models and timelines are missing. Runs write them "
            "unless told --no-traces; `--traces FILE` names another file."
        )
    if 0 < run.traced < run.lines:
        yield f"{figures.count(run.lines - run.traced)} of {figures.count(run.lines)} result lines have no trace."
    if table.rows < table.total:
        yield (
            f"The table holds {figures.count(table.rows)} of {figures.counted(table.total, 'item')}: the failed ones "
            f"first, and every {table.every}th of the others. All other figures are of all items."
        )
    if run.superseded:
        yield (
            f"Superseded by a later line of the same item: {figures.counted(run.superseded, 'line')}. "
            "The last counts, and cost and tokens include them all."
        )
    if run.unfinished:
        yield (
            f"In flight when the run was stopped: {figures.counted(run.unfinished, 'item')}, without a result and "
            "still to do."
        )
    if run.bad_lines:
        yield (
            f"No results, and left out: {figures.counted(len(run.bad_lines), 'line')} of the results file, "
            f"the first is line {figures.count(run.bad_lines[0])}."
        )
    if run.bad_traces:
        yield f"Not read: {figures.counted(run.bad_traces, 'damaged line')} of the traces (a kill leaves one)."
    if run.truncated:
        yield f"max_tokens cut an answer of {figures.counted(run.truncated, 'item')}."
    if run.possibly_billed:
        billed = figures.count(run.possibly_billed)
        yield f"The provider may have billed {billed} failed attempts, which have no cost here."


def _run_data(
    run: RunFigures, table: ItemTable, other: RunFigures | None, comparison: Comparison | None
) -> Mapping[str, Any]:
    return {
        "name": run.results.name,
        "results": str(run.results),
        "traces": None if run.traces is None else str(run.traces),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "statuses": STATUSES,
        "spanKinds": KINDS,
        "spanStatuses": SPAN_STATUSES,
        "binsPerDecade": BINS_PER_DECADE,
        "errorTypes": run.book.error_types,
        "meanings": meanings(),
        "notes": list(notes(run, table)),
        "table": {
            "total": table.total,
            "rows": table.rows,
            "blocks": len(table.row_blocks),
            "textBlockSize": table.text_block_size,
            "timelineBlockSize": table.timeline_block_size,
            "origin": table.origin_s,
            "chars": table.chars,
        },
        "run": _figures(run),
        "other": None if other is None else _figures(other),
        "comparison": None if comparison is None else asdict(comparison),
    }


def meanings() -> Mapping[str, str]:
    """What each error type means, in the words of the class that stands for it."""
    return {kind.type: (kind.__doc__ or "").partition("\n")[0] for kind in _kinds_of(StepError) if "type" in vars(kind)}


def _kinds_of(kind: type[StepError]) -> Iterator[type[StepError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds_of(narrower)


def _figures(run: RunFigures) -> Mapping[str, Any]:
    return {
        "name": run.results.name,
        "verdict": verdict_of(run),
        "counts": run.counts,
        "items": len(run.book),
        "failed": failed_of(run),
        "inputTokens": run.input_tokens,
        "outputTokens": run.output_tokens,
        "requests": run.requests,
        "retries": run.retries,
        "cost": run.cost_usd,
        "unpriced": run.unpriced,
        "seconds": run.course.active_s,
        "work": asdict(run.work),
        "queue": asdict(run.queue),
        "course": asdict(run.course),
        "agents": [asdict(share) for share in run.agents],
        "models": [asdict(share) for share in run.models],
        "errors": [asdict(group) for group in run.errors],
        "refusals": [asdict(one) for one in run.refusals],
        "boundBy": [{"words": one.words, "share": one.share, "seconds": one.seconds} for one in run.bound_by],
        "checks": [_check(one) for one in run.checks],
        "marks": [asdict(mark) for mark in run.marks],
    }


def _check(check: CheckCount) -> Mapping[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "failed": check.failed,
        "mean": check.mean_score,
        "wanted": wanted_of(check),
        "met": check.met,
    }
