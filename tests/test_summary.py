import dataclasses
import json
import re

import pytest
from jsonschema import Draft202012Validator
from progress.scripted_run import ScriptedRun
from summary_schema import SUMMARY_SCHEMA

from agentbatch.checks.counts import CheckCount
from agentbatch.progress.tally import AgentStats, ErrorGroup, Tally
from agentbatch.summary import Audit, Summary, summarize, summary_json
from agentbatch.summary.text import render_summary
from agentbatch.time_book import BoundTime
from agentbatch.trace import Tracer

WRITER = AgentStats(
    "writer", done=1990, failed=10, calls=2012, retries=12, input_tokens=1_200_000, output_tokens=80_000,
    cost_usd=0.123, p50_s=0.81, p95_s=1.2,
)  # fmt: skip
ERRORS = (
    ErrorGroup("rate_limited", 10, "17", "writer", "429: too many requests"),
    ErrorGroup("input", 2, "3", None, "line 3: not JSON"),
)
FAILED = Summary(
    verdict="failed",
    exit_code=1,
    total=2500,
    before={"ok": 500},
    counts={"error": 12, "ok": 1988},
    remaining=0,
    errors=ERRORS,
    agents=(WRITER,),
    started_at="2026-11-21T07:00:00.000000Z",
    wall_s=83.2,
    items_per_s=24.0,
    input_tokens=1_200_000,
    output_tokens=80_000,
    calls=2012,
    retries=12,
    cost_usd=0.123,
    known_cost_usd=0.123,
    results="in.results.jsonl",
    traces="in.results.traces.jsonl",
)


def test_the_whole_text() -> None:
    assert (
        render_summary(FAILED, color=False)
        == """\
12 of 2,000 items failed, in 1m 23s.

Errors
  10  rate_limited
      item 17, writer: 429: too many requests
   2  input
      item 3: line 3: not JSON

  agent      ok  failed  retries     p50     p95  tokens in    out    cost
  writer  1,990      10       12  0.81 s  1.20 s      1.20M  80.0k  $0.123

  items    1,988 ok, 12 error; 500 before
  time     1m 23s, 24.0 items/s
  tokens   1,200,000 in, 80,000 out
  cost     $0.123
  results  in.results.jsonl
  traces   in.results.traces.jsonl
"""
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"counts": {"ok": 2000}, "errors": ()}, "All 2,000 items succeeded, in 1m 23s."),
        ({"counts": {"ok": 1}, "errors": ()}, "The one item succeeded, in 1m 23s."),
        ({"counts": {"ok": 9, "skipped": 1}}, "9 items succeeded and 1 was skipped, in 1m 23s."),
        ({"counts": {"error": 1}}, "The one item failed, in 1m 23s."),
        ({"counts": {}, "verdict": "ok"}, "Nothing left to do: all 500 items have a result."),
        (
            {"counts": {}, "before": {"ok": 499, "error": 1}},
            "Nothing left to do: all 500 items have a result, and 1 of them failed (again: --retry-failed).",
        ),
        ({"counts": {}, "before": {}, "total": 0}, "There were no items."),
        (
            {"verdict": "stopped", "stop_reason": "the cost limit of $5.00 is reached", "remaining": 0},
            "Stopped: the cost limit of $5.00 is reached. 2,500 of 2,500 items done, 12 of this run's failed.",
        ),
        (
            {"verdict": "interrupted", "stop_reason": "SIGINT", "total": None, "counts": {"ok": 3}, "before": {}},
            "Interrupted: SIGINT. 3 items done.",
        ),
        ({"verdict": "stopped", "counts": {}, "before": {}, "total": 9}, "Stopped. 0 of 9 items done."),
        ({"verdict": "stopped", "counts": {}, "before": {}, "total": 1}, "Stopped. 0 of 1 item done."),
        ({"counts": {"ok": 1, "skipped": 2}}, "1 item succeeded and 2 were skipped, in 1m 23s."),
        (
            {"counts": {}, "before": {"error": 1}, "verdict": "ok"},
            "Nothing left to do: the one item has a result, and failed (again: --retry-failed).",
        ),
    ],
)
def test_the_verdict_comes_first(changes: dict, line: str) -> None:
    assert render_summary(dataclasses.replace(FAILED, **changes), color=False).splitlines()[0] == line


def test_the_command_that_continues_comes_last() -> None:
    text = render_summary(dataclasses.replace(FAILED, continue_command="agentbatch run a.yaml in.jsonl"), color=False)
    assert text.endswith("\n\nContinue with:\n  agentbatch run a.yaml in.jsonl\n")


def test_colour_is_only_there_when_asked_for() -> None:
    assert "\x1b" not in render_summary(FAILED, color=False)
    coloured = render_summary(FAILED, color=True)
    assert coloured.startswith("\x1b[1;31m12 of")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_summary(FAILED, color=False)


def test_hostile_text_is_escaped() -> None:
    evil = "\x1b]0;x\x07\u202e\nnew line"
    summary = dataclasses.replace(
        FAILED,
        errors=(ErrorGroup(evil, 1, evil, evil, evil),),
        agents=(dataclasses.replace(WRITER, name=evil),),
        stop_reason=evil,
        verdict="stopped",
        results=evil,
        traces=evil,
        continue_command=evil,
        notes=(evil,),
    )
    text = render_summary(summary, color=False)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\nnew line" not in text


def test_it_is_readable_at_80_columns() -> None:
    agents = tuple(dataclasses.replace(WRITER, name=f"agent_with_a_long_name_{number}") for number in range(3))
    lines = render_summary(dataclasses.replace(FAILED, agents=agents), color=False).splitlines()
    assert max(map(len, lines)) <= 80


def test_many_agents_and_many_kinds_of_error_are_cut_short() -> None:
    agents = tuple(dataclasses.replace(WRITER, name=f"agent_{number}") for number in range(45))
    errors = tuple(ErrorGroup(f"type_{number}", 1, "1", None, "x") for number in range(15))
    text = render_summary(dataclasses.replace(FAILED, agents=agents, errors=errors), color=False)
    assert "and 25 more agents" in text
    assert "and 5 more kinds" in text
    assert len(text.splitlines()) < 60


def test_agents_that_never_ran_are_left_out() -> None:
    text = render_summary(dataclasses.replace(FAILED, agents=(WRITER, AgentStats("idle"))), color=False)
    assert "idle" not in text


def test_an_unknown_price_is_said_and_is_null() -> None:
    unknown = dataclasses.replace(
        FAILED, cost_usd=None, known_cost_usd=0.1, agents=(dataclasses.replace(WRITER, cost_known=False),)
    )
    text = render_summary(unknown, color=False)
    assert "cost     $0.100 and calls without a known price (set price: on the model)" in text
    assert re.search(r"writer .* \?$", text, re.MULTILINE)
    document = json.loads(summary_json(unknown))
    assert document["cost_usd"] is None
    assert document["agents"]["writer"]["cost_usd"] is None


def test_attempts_that_may_be_billed_are_said() -> None:
    text = render_summary(dataclasses.replace(FAILED, possibly_billed=3), color=False)
    assert "$0.123; up to 3 failed attempts may be billed too" in text


def test_the_json_keeps_its_names() -> None:
    summary = dataclasses.replace(
        FAILED,
        bound_by=(BoundTime("rpm", "model fast", 60.0, 0.72), BoundTime("other", "", 23.2, 0.28)),
        checks=(CheckCount("right", 8999, 1001, 0.9, 0.9),),
        notes=("a note",),
    )
    document = json.loads(summary_json(summary))
    Draft202012Validator(SUMMARY_SCHEMA).validate(document)
    assert next(iter(document)) == "version"
    assert document["errors"][0]["example"] == {"id": "17", "message": "429: too many requests", "agent": "writer"}
    assert document["bound_by"][0] == {"what": "rpm", "who": "model fast", "seconds": 60.0, "share": 0.72}


def test_where_the_time_went_is_told() -> None:
    times = (
        BoundTime("rpm", "model fast", 50.0, 0.6),
        BoundTime("provider", "model careful", 20.0, 0.24),
        BoundTime("other", "", 10.0, 0.12),
        BoundTime("cpu", "", 3.2, 0.04),
    )
    text = render_summary(dataclasses.replace(FAILED, bound_by=times), color=False)
    assert (
        "  time     1m 23s, 24.0 items/s\n"
        "  bound by  60% rpm of model fast\n"
        "            24% answers of model careful\n"
        "  tokens " in text
    )


def test_the_agent_that_fails_is_named() -> None:
    assert "failing" not in render_summary(FAILED, color=False), "there is only one"
    others = [dataclasses.replace(WRITER, name=name, failed=failed) for name, failed in (("a", 0), ("b", 12), ("c", 1))]
    text = render_summary(dataclasses.replace(FAILED, agents=(WRITER, *others)), color=False)
    assert "  failing  b, 12 of 2,002; and 2 more agents\n" in text
    text = render_summary(dataclasses.replace(FAILED, agents=(WRITER, others[0])), color=False)
    assert "  failing  writer, 10 of 2,000\n" in text


def test_the_slowest_agent_and_the_dearest_model_are_named() -> None:
    assert not {"slowest", "dearest"} & set(render_summary(FAILED, color=False).split())
    critic = dataclasses.replace(WRITER, name="critic", p95_s=9.5, cost_usd=0.877)
    models = dataclasses.replace(WRITER, name="fast"), dataclasses.replace(critic, name="careful")
    text = render_summary(dataclasses.replace(FAILED, agents=(WRITER, critic), models=models), color=False)
    assert "  slowest  critic, p95 9.50 s\n  dearest  critic, $0.877 (87.7%); model careful, $0.877 (87.7%)\n" in text


def test_calls_from_the_cache_are_told_where_there_are_any() -> None:
    assert "cache" not in render_summary(FAILED, color=False)
    cached = dataclasses.replace(FAILED, cached=1500, agents=(dataclasses.replace(WRITER, cached=1500),))
    text = render_summary(cached, color=False)
    assert re.search(r"failed  cached .*\n  writer  1,990      10   1,500", text)
    assert "  cached   1,500 of 2,012 calls came from the cache, and cost nothing\n" in text


def test_a_lone_surrogate_breaks_no_json() -> None:
    document = json.loads(summary_json(dataclasses.replace(FAILED, notes=("half \ud800 pair",))))
    assert document["notes"] == ["half \ufffd pair"]


def test_a_summary_of_a_tally() -> None:
    tally = Tally()
    tracer = Tracer([tally])
    run = ScriptedRun(tracer, ("writer", "critic"), price=0.01)
    run.item(1, retries=1)
    run.item(2, ("server", "502"))
    tracer.end(tracer.start("item", "item"), "stopped")
    summary = summarize(
        tally.counts(), verdict="stopped", exit_code=3, started_at="", total=10, before={"ok": 4}, stop_reason="why"
    )
    assert summary.counts == {"ok": 1, "error": 1}
    assert summary.remaining == 4
    assert (summary.calls, summary.retries, summary.input_tokens) == (6, 2, 360)
    assert summary.cost_usd == pytest.approx(0.03)
    assert [group.type for group in summary.errors] == ["server"]
    assert summary.items_per_s > 0


def test_what_is_on_disk_wins_over_what_ended() -> None:
    tally = Tally()
    ScriptedRun(Tracer([tally]), ("writer",)).item(1)
    summary = summarize(
        tally.counts(), verdict="failed", exit_code=1, started_at="", total=3, written={"error": 1, "ok": 1}
    )
    assert (summary.counts, summary.remaining, summary.failed) == ({"error": 1, "ok": 1}, 1, 1)


def test_checks_are_told_and_missed_thresholds_come_first() -> None:
    checks = (CheckCount("right", 8999, 1001, 0.9, 0.9), CheckCount("near", 1, 0, None))
    ended = dataclasses.replace(FAILED, errors=(), counts={"ok": 10}, before={}, checks=checks)
    text = render_summary(ended, color=False)
    assert text.startswith("All 10 items succeeded, in 1m 23s. Below its threshold: right.\n")
    assert (
        "  check  passed  failed  share  mean score\n"
        "  right   8,999   1,001  89.9%       0.900  missed: share of 90%\n"
        "  near        1       0   100%           -\n"
    ) in text
    document = json.loads(summary_json(ended))
    assert (document["checks"]["right"]["met"], document["checks"]["near"]["met"]) == (False, True)
    stopped = dataclasses.replace(ended, verdict="stopped")
    assert "threshold" not in render_summary(stopped, color=False).splitlines()[0]


def test_why_nobody_knows_what_was_paid_twice_is_told() -> None:
    for afar, why in ((True, "calls are made by workers"), (False, "any more")):
        continued = dataclasses.replace(FAILED, audit=Audit(0, None, made_afar=afar))
        text = " ".join(render_summary(continued, color=False).split())
        assert "paid twice: not known" in text
        assert why in text
        assert json.loads(summary_json(continued))["audit"] == {"missing": 0, "paid_twice": None}
