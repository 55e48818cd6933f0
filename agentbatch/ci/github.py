"""What GitHub Actions shows of a run: annotations by workflow commands, and the step's summary in Markdown.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands. The runner reads commands from
stderr as from stdout, so stdout stays with the data.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agentbatch.checks.counts import CheckCount
from agentbatch.progress.tally import AgentStats, ErrorGroup
from agentbatch.summary import Summary
from agentbatch.summary.text import bound_by, dearest, failing, slowest, verdict_line, wanted_of
from agentbatch.text import figures
from agentbatch.text.redact import visible

_MOST_ANNOTATIONS: Final = 10
"""GitHub shows no more of one kind for one step."""
_MOST_ROWS: Final = 50
_PUNCTUATION: Final = re.compile(f"([{re.escape(string.punctuation)}])")
"""In CommonMark (section 2.4) any of these may have a backslash before it, and is then nothing but itself."""


def workflow_commands(summary: Summary) -> str:
    """Workflow commands: the verdict, if it is not a good one, each missed threshold, each type of error."""
    if summary.verdict == "ok" and not summary.errors:
        return ""
    level = "warning" if summary.verdict == "ok" else "error"
    lines = [_command(level, "agentbatch", verdict_line(summary))]
    lines += [_check_command(check) for check in summary.checks if not check.met]
    lines += [_error_command(level, group) for group in summary.errors]
    return "".join(f"{line}\n" for line in lines[:_MOST_ANNOTATIONS])


def _check_command(check: CheckCount) -> str:
    came_to = f"{figures.percent(check.share)} passed"
    if check.mean_score is not None:
        came_to += f", mean score {check.mean_score:.3f}"
    return _command("error", f"check {visible(check.name, 40)}", f"{came_to}; the threshold is a {wanted_of(check)}")


def _error_command(level: str, group: ErrorGroup) -> str:
    title = f"{figures.count(group.count)} {visible(group.type, 40)}"
    agent = f", {visible(group.agent, 40)}" if group.agent else ""
    return _command(level, title, f"item {visible(group.item_id, 40)}{agent}: {visible(group.message, 500)}")


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def append_step_summary(path: Path, summary: Summary) -> None:
    """Add the run to the step's summary.

    Raises:
        OSError: it can't be written.
    """
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(step_summary(summary))


def step_summary(summary: Summary) -> str:
    """The run in Markdown: the verdict, counts, errors with an example each, agents, files. Some 50 kB at most."""
    blocks = [
        f"### {_text(verdict_line(summary))}",
        _facts(summary),
        _errors(summary.errors),
        _checks(summary.checks),
        _agents(summary.agents),
        _agents(summary.models, "model"),
    ]
    if summary.continue_command:
        blocks.append(f"Continue with:\n\n{_code(summary.continue_command)}")
    return "\n\n".join(block for block in blocks if block) + "\n\n"


def _facts(summary: Summary) -> str:
    statuses = sorted(summary.counts.items(), key=lambda one: (one[0] != "ok", one[0]))
    rows = [(_text(name), figures.count(number)) for name, number in statuses if number]
    if before := sum(summary.before.values()):
        rows.append(("done before", figures.count(before)))
    if summary.remaining:
        rows.append(("still to do", figures.count(summary.remaining)))
    rows.append(("time", _text(f"{figures.span_of_time(summary.wall_s)}, {figures.rate(summary.items_per_s)} items/s")))
    if summary.calls:
        tokens = f"{figures.count(summary.input_tokens)} in, {figures.count(summary.output_tokens)} out"
        rows += [("tokens", tokens), ("cost", _text(_cost(summary)))]
    told = {"failing": failing, "slowest": slowest, "dearest": dearest, "bound by": bound_by}
    rows += [(name, _text(text)) for name, tell in told.items() if (text := tell(summary))]
    return _table(("items", ""), rows)


def _cost(summary: Summary) -> str:
    if summary.cost_usd is not None:
        return figures.money(summary.cost_usd)
    return f"{figures.money(summary.known_cost_usd)} + ?" if summary.known_cost_usd else "unknown"


def _errors(groups: Sequence[ErrorGroup]) -> str:
    rows = [
        (
            figures.count(group.count),
            _text(group.type),
            _text(group.item_id),
            _text(group.agent or ""),
            _text(group.message),
        )
        for group in groups[:_MOST_ROWS]
    ]
    return _table(("count", "error", "e.g. item", "agent", "message"), rows) if rows else ""


def _checks(checks: Sequence[CheckCount]) -> str:
    rows = [
        (
            _text(check.name),
            figures.count(check.passed),
            figures.count(check.failed),
            _text(figures.percent(check.share)),
            "\\-" if check.mean_score is None else _text(f"{check.mean_score:.3f}"),
            "" if check.met else _text(f"missed: {wanted_of(check)}"),
        )
        for check in checks[:_MOST_ROWS]
    ]
    return _table(("check", "passed", "failed", "share", "mean score", "threshold"), rows) if rows else ""


def _agents(agents: Sequence[AgentStats], title: str = "agent") -> str:
    rows = [
        (
            _text(agent.name),
            figures.count(agent.done),
            figures.count(agent.failed),
            figures.count(agent.retries),
            figures.seconds(agent.p50_s),
            figures.seconds(agent.p95_s),
            figures.short_count(agent.input_tokens),
            figures.short_count(agent.output_tokens),
            _text(figures.money(agent.cost_usd) if agent.cost_known else "?"),
        )
        for agent in agents[:_MOST_ROWS]
        if agent.done or agent.failed or agent.calls
    ]
    return _table((title, "ok", "failed", "retries", "p50", "p95", "tokens in", "out", "cost"), rows) if rows else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_rows([head, ["---"] * len(head), *rows]))


def _rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _text(text: str) -> str:
    """Text as Markdown that shows it and nothing else: no markup, no HTML, no link, on one line."""
    return _PUNCTUATION.sub(r"\\\1", visible(text, 300))


def _code(text: str) -> str:
    """Text as a code block of one line. Its fence is longer than any in it."""
    line = visible(text, 4000)
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{line}\n{fence}"
