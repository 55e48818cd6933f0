"""A run as JUnit XML, which every CI system reads: one test case for each item.

The format has no standard; written is what Jenkins, GitLab and GitHub's reporters have in common:
https://github.com/testmoapp/junitxml, https://docs.gitlab.com/ci/testing/unit_test_reports/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from agentbatch.errors import AgentBatchError, OutputError
from agentbatch.files.durable import replacing
from agentbatch.results.lines import CountedLines
from agentbatch.summary import Summary
from agentbatch.summary.text import verdict_line, wanted_of
from agentbatch.text import figures

_UNFIT: Final = re.compile("[^\t\n\r -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) does not allow, and the control characters that it does."""
_MOST_TEXT: Final = 10_000
"""Characters of one message."""
_ANSWERS: Final = frozenset({"output_schema", "content_filter", "max_turns", "bad_response", "refused"})
"""Error types that speak of an answer: failures. All others are errors: the item could not be put to the test."""

Outcome = Literal["passed", "failure", "error", "skipped"]


class Case(NamedTuple):
    """One test case. `type` and `message` say why it did not pass; `scores` are those of its checks."""

    name: str
    seconds: float
    outcome: Outcome = "passed"
    type: str = ""
    message: str = ""
    trace_id: str = ""
    scores: str = ""


def write_junit(path: Path, results: Path | None, summary: Summary, workflow: str) -> None:
    """Write all items that have a result, those of earlier runs too; the thresholds; how it ended, if not by itself.

    Args:
        results: the results file; None, or a file that is not there, stands for no results.
        workflow: the class name of every case.

    Raises:
        OutputError: it can't be written. InputError: the results can't be read.
    """
    last = [*_thresholds(summary), *_end(summary)]
    with ExitStack() as opened:
        if results is None or not results.exists():
            lines: Iterable[Mapping[str, Any]] = ()
        else:
            lines = opened.enter_context(CountedLines(results))
        counts = Counter(case.outcome for case in _cases(lines, last))
        _write(path, _cases(lines, last), counts, workflow, summary.started_at, summary.wall_s)


def write_broken(path: Path, error: AgentBatchError, workflow: str, started_at: str) -> None:
    """Write of a run that could not begin, or broke off: one case, an error.

    Raises:
        OutputError: it can't be written.
    """
    case = Case("the run", 0.0, "error", type(error).__name__, str(error))
    _write(path, [case], Counter(error=1), workflow, started_at, 0.0)


def _cases(lines: Iterable[Mapping[str, Any]], last: Sequence[Case]) -> Iterator[Case]:
    for line in lines:
        yield case_of(line)
    yield from last


def case_of(line: Mapping[str, Any]) -> Case:
    """The test case of a result line."""
    error: Mapping[str, Any] = line.get("error") or {}
    status, kind = str(line["status"]), str(error.get("type") or line["status"])
    outcome: Outcome = "failure" if kind in _ANSWERS else "error"
    if status == "ok":
        return _checked_case(line)
    if status == "skipped":
        outcome = "skipped"
    agent = f"{error['agent']}: " if error.get("agent") else ""
    return Case(
        name=str(line["id"]),
        seconds=float(line.get("duration_s") or 0.0),
        outcome=outcome,
        type=kind,
        message=f"{agent}{error.get('message') or ''}",
        trace_id=str(line.get("trace_id") or ""),
    )


def _checked_case(line: Mapping[str, Any]) -> Case:
    """The case of an item that succeeded: passed, unless one of its checks did not."""
    checks: Mapping[str, Mapping[str, Any]] = line.get("checks") or {}
    failed = [f"{name}: {check.get('message') or 'failed'}" for name, check in checks.items() if not check["passed"]]
    return Case(
        name=str(line["id"]),
        seconds=float(line.get("duration_s") or 0.0),
        outcome="failure" if failed else "passed",
        type="check" if failed else "",
        message="\n".join(failed),
        trace_id=str(line.get("trace_id") or ""),
        scores=", ".join(f"{name} {check['score']:.3f}" for name, check in checks.items() if _has_score(check)),
    )


def _has_score(check: Mapping[str, Any]) -> bool:
    return isinstance(check.get("score"), int | float)


def _thresholds(summary: Summary) -> Iterator[Case]:
    """A case for each threshold. A run that was stopped has not had its chance to come to it."""
    if summary.verdict not in ("ok", "failed"):
        return
    for check in summary.checks:
        if wanted := wanted_of(check):
            mean = "" if check.mean_score is None else f", mean score {check.mean_score:.3f}"
            message = f"{figures.percent(check.share)} passed{mean}; the threshold is a {wanted}"
            outcome, kind = ("passed", "") if check.met else ("failure", "threshold")
            yield Case(f"threshold of {check.name}", 0.0, outcome, kind, message)


def _end(summary: Summary) -> Iterator[Case]:
    """The case that stands for the items without a result, where the run ended before them."""
    if summary.verdict not in ("ok", "failed"):
        yield Case("the run", summary.wall_s, "error", summary.verdict, verdict_line(summary))


def _write(
    path: Path, cases: Iterable[Case], counts: Mapping[str, int], workflow: str, started_at: str, seconds: float
) -> None:
    try:
        with replacing(path) as file:
            _write_suite(file, cases, counts, workflow, started_at, seconds)
    except OSError as error:
        raise OutputError(f"{path}: the JUnit file cannot be written: {error.strerror}") from error


def _write_suite(
    file: BinaryIO, cases: Iterable[Case], counts: Mapping[str, int], workflow: str, started_at: str, seconds: float
) -> None:
    sums = _attributes(
        tests=str(sum(counts.values())),
        failures=str(counts.get("failure", 0)),
        errors=str(counts.get("error", 0)),
        skipped=str(counts.get("skipped", 0)),
        time=f"{seconds:.3f}",
    )
    name, when = _attributes(name=workflow), _attributes(timestamp=started_at[:19])
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{_attributes(name="agentbatch")}{sums}>\n'
    file.write(f"{head}<testsuite{name}{sums}{when}>\n".encode())
    for case in cases:
        file.write(_case(case, workflow).encode())
    file.write(b"</testsuite>\n</testsuites>\n")


def _case(case: Case, workflow: str) -> str:
    opening = f"<testcase{_attributes(classname=workflow, name=case.name, time=f'{case.seconds:.3f}')}"
    if case.outcome == "passed":
        return f"{opening}>{_said(scores=case.scores)}</testcase>\n" if case.scores else f"{opening}/>\n"
    if case.outcome == "skipped":
        return f"{opening}><skipped/></testcase>\n"
    text = _fit(case.message)
    said = _said(trace=case.trace_id, scores=case.scores)
    why = _attributes(type=case.type, message=text.partition("\n")[0])
    return f"{opening}><{case.outcome}{why}>{escape(text)}</{case.outcome}>{said}</testcase>\n"


def _said(**facts: str) -> str:
    told = "\n".join(f"{name} {text}" for name, text in facts.items() if text)
    return f"<system-out>{escape(_fit(told))}</system-out>" if told else ""


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(_fit(value))}" for name, value in values.items())


def _fit(text: str) -> str:
    """The text without what XML can't hold or a terminal would obey, and cut."""
    return _UNFIT.sub("", text[:_MOST_TEXT])
