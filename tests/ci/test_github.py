from dataclasses import replace
from pathlib import Path

from ended_run import SUMMARY

from agentbatch.checks.counts import CheckCount
from agentbatch.ci.github import append_step_summary, step_summary, workflow_commands
from agentbatch.progress.tally import AgentStats, ErrorGroup

HOSTILE = "50%\r\n::set-env name=x::y\x1b[2J <img src=x onerror=alert(1)> | [a](http://b) `c` @all :tada:"


def test_nothing_to_say_of_a_good_run() -> None:
    assert workflow_commands(replace(SUMMARY, verdict="ok")) == ""


def test_the_verdict_and_each_type_of_error() -> None:
    errors = (
        ErrorGroup("rate_limited", 1200, "17", "writer", "429: 50% too many"),
        ErrorGroup("input", 2, "3", None, "no JSON"),
    )
    ended = replace(SUMMARY, errors=errors, counts={"error": 3})
    assert workflow_commands(ended) == (
        "::error title=agentbatch::3 of 3 items failed, in 1m 23s.\n"
        "::error title=1%2C200 rate_limited::item 17, writer: 429: 50%25 too many\n"
        "::error title=2 input::item 3: no JSON\n"
    )
    assert workflow_commands(replace(ended, verdict="ok")).startswith("::warning title=agentbatch::")


def test_no_more_annotations_than_are_shown() -> None:
    errors = tuple(ErrorGroup(f"type{number}", 1, "1", None, "x") for number in range(50))
    assert len(workflow_commands(replace(SUMMARY, errors=errors)).splitlines()) == 10


def test_a_message_is_no_command() -> None:
    errors = (ErrorGroup(HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE),)
    ended = replace(SUMMARY, errors=errors, stop_reason=HOSTILE, verdict="stopped")
    lines = workflow_commands(ended).splitlines()
    assert [line.startswith("::error title=") for line in lines] == [True, True]
    assert all(line.isprintable() for line in lines)
    title = lines[1].removeprefix("::error ").partition("::")[0]
    assert ":" not in title
    assert "," not in title


def test_the_summary_in_markdown() -> None:
    agent = AgentStats("writer", done=3, calls=4, retries=1, p50_s=0.5, p95_s=1.5, cost_usd=0.25, input_tokens=1500)
    ended = replace(
        SUMMARY,
        agents=(agent, AgentStats("idle")),
        errors=(ErrorGroup("server", 2, "a", "writer", "boom"),),
        counts={"error": 2, "ok": 1},
        before={"ok": 5},
        remaining=7,
        calls=4,
        cost_usd=None,
        known_cost_usd=0.25,
        continue_command="agentbatch run c.yaml `in`.jsonl",
    )
    assert step_summary(ended) == (
        "### 2 of 3 items failed\\, in 1m 23s\\.\n"
        "\n"
        "| items |  |\n| --- | --- |\n| ok | 1 |\n| error | 2 |\n| done before | 5 |\n| still to do | 7 |\n"
        "| time | 1m 23s\\, 0 items\\/s |\n| tokens | 0 in, 0 out |\n| cost | \\$0\\.250 \\+ \\? |\n"
        "\n"
        "| count | error | e.g. item | agent | message |\n| --- | --- | --- | --- | --- |\n"
        "| 2 | server | a | writer | boom |\n"
        "\n"
        "| agent | ok | failed | retries | p50 | p95 | tokens in | out | cost |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| writer | 3 | 0 | 1 | 0.50 s | 1.50 s | 1.50k | 0 | \\$0\\.250 |\n"
        "\n"
        "Continue with:\n\n```\nagentbatch run c.yaml `in`.jsonl\n```\n\n"
    )


def test_hostile_text_is_shown_and_nothing_else() -> None:
    errors = (ErrorGroup(HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE),)
    text = step_summary(replace(SUMMARY, errors=errors, continue_command="x ``` y\n# head"))
    row = next(line for line in text.splitlines() if "onerror" in line)
    unescaped = row.replace("\\|", "").replace("\\<", "").replace("\\[", "").replace("\\`", "").replace("\\@", "")
    assert unescaped.count("|") == 6
    assert not set("<[`@") & set(unescaped)
    assert "http://" not in row
    assert "\n````\nx ``` y\\n# head\n````\n" in text


def test_it_stays_far_below_the_limit_of_a_step() -> None:
    errors = tuple(ErrorGroup(f"type{number}", 1, "|" * 500, "|" * 500, "|" * 5000) for number in range(200))
    agents = tuple(AgentStats("|" * 500, done=1) for _ in range(500))
    assert len(step_summary(replace(SUMMARY, errors=errors, agents=agents)).encode()) < 500_000


def test_a_step_s_earlier_words_stay(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_step_summary(path, SUMMARY)
    assert path.read_text("utf-8").startswith("before\n### All 3 items succeeded")


def test_missed_thresholds_are_told() -> None:
    checks = (
        CheckCount("right", 8, 2, 0.8, 0.9),
        CheckCount("near|", 9, 1, None),
        CheckCount("low", 1, 1, 0.2, None, 0.5),
    )
    ended = replace(SUMMARY, checks=checks)
    assert workflow_commands(ended).splitlines() == [
        "::error title=agentbatch::All 3 items succeeded, in 1m 23s. Below their thresholds: right, low.",
        "::error title=check right::80%25 passed, mean score 0.800; the threshold is a share of 90%25",
        "::error title=check low::50%25 passed, mean score 0.200; the threshold is a mean score of 0.5",
    ]
    text = step_summary(ended)
    assert "| right | 8 | 2 | 80\\% | 0\\.800 | missed\\: share of 90\\% |\n" in text
    assert "| near\\| | 9 | 1 | 90\\% | \\- |  |\n" in text
