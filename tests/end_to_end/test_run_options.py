"""Every end has its exit code, and every option does what it says, on the real program."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused


def some_bad(*bad: str):
    return lambda asked: refused("400 No", message="never") if asked.id in bad else good(asked.id, delay=0.01)


ALLOWANCES = {"none": ([], 1), "3": (["3"], 0), "15%": (["15%"], 0), "5%": (["5%"], 3), "1": (["1"], 3)}


@pytest.mark.parametrize(("allowed", "code"), cases(ALLOWANCES, "none", "15%", "1"))
def test_failures_show_in_the_exit_code_unless_they_are_allowed(
    project: Project, provider: Provider, allowed: list[str], code: int
) -> None:
    ids = project.give(20)
    provider.script = some_bad("3", "4", "5")
    ended = project.run(*(word for one in allowed for word in ("--max-failures", one)))
    assert ended.code == code, ended.stderr
    assert not faults_of(project.results, ids, complete=code != 3)
    if code == 3:
        assert "max_failures" in ended.stderr
        assert "Continue with:" in ended.stderr
        # what was not asked stays to do; to go on, allow more
        assert project.run("--max-failures", "3").code == 0
        assert not faults_of(project.results, ids)
        assert len(provider.requests) == 20


def test_fail_fast_stops_at_the_first_failure(project: Project, provider: Provider) -> None:
    project.give(100)
    provider.script = some_bad("5")
    ended = project.run("--fail-fast")
    assert ended.code == 3, ended.stderr
    assert len(provider.requests) <= 5 + 2 * 8
    assert sum(line["status"] == "error" for line in project.lines()) == 1


def test_retry_failed_runs_failures_again_and_nothing_else(project: Project, provider: Provider) -> None:
    ids = project.give(10)
    provider.script = some_bad("2", "7")
    assert project.run().code == 1
    assert project.run().code == 1, "a failure is final unless it is asked for again, and not forgotten"
    assert len(provider.requests) == 10
    provider.script = some_bad("7")
    assert project.run("--retry-failed").code == 1
    assert sorted(provider.ids[10:]) == ["2", "7"]
    provider.script = some_bad()
    assert project.run("--retry-failed").code == 0
    assert provider.ids[12:] == ["7"]
    assert {one: line["status"] for one, line in project.by_id().items()} == dict.fromkeys(ids, "ok")
    assert project.run().code == 0


def test_the_cost_cap_ends_the_run_and_raising_it_goes_on(project: Project, provider: Provider) -> None:
    """Each answer costs $15. What the prompts come to is known when they are paid: that much may be too much."""
    ids = project.give(40)
    project.configure(model={"price": {"input": 1_000_000, "output": 1_000_000}, "params": {"max_tokens": 5}})
    ended = project.run("--max-cost", "200")
    assert ended.code == 3, ended.stderr
    assert "max_cost" in ended.stderr
    spent = sum(line["cost_usd"] for line in project.lines())
    assert spent == 15.0 * len(provider.requests)
    assert 100 < spent <= 200 + 8 * 15
    # what the earlier run spent counts
    again = project.run("--max-cost", "200")
    assert again.code == 3
    assert 15.0 * len(provider.requests) <= 200 + 8 * 15
    assert project.run("--max-cost", "100000").code == 0
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 40


def test_a_run_ends_with_its_time(project: Project, provider: Provider) -> None:
    ids = project.give(500)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    ended = project.run("--timeout", "1500ms")
    assert ended.code == 3, ended.stderr
    assert ended.seconds < 1.5 + 5
    assert "timeout" in ended.stderr
    assert not faults_of(project.results, ids, complete=False)
    assert 8 < len(project.lines()) == len(provider.requests)


def test_a_run_that_waits_for_answers_ends_with_its_time(project: Project, provider: Provider) -> None:
    project.give(3)
    provider.script = lambda asked: good(asked.id, delay=60)
    ended = project.run("--timeout", "1s", "--json")
    assert ended.code == 3, ended.stderr
    assert ended.summary["wall_s"] < 4  # it was given the 5 s of a signal


@pytest.mark.slow
def test_an_item_ends_with_its_time_whatever_its_attempts_do(project: Project, provider: Provider) -> None:
    project.give(4)
    project.configure(model={"timeout": "400ms", "retries": 100})
    provider.script = lambda asked: Reply(raw=b"", then="hang") if asked.id == "2" else good(asked.id)
    ended = project.run("--item-timeout", "2s")
    assert ended.code == 1, ended.stderr
    assert ended.seconds < 30
    lines = project.by_id()
    assert (lines["2"]["status"], lines["2"]["error"]["type"]) == ("timeout", "timeout")
    assert [lines[one]["status"] for one in "134"] == ["ok"] * 3


@pytest.mark.slow
def test_parts_of_the_inputs_make_the_whole(project: Project, provider: Provider) -> None:
    ids = project.give(12)
    for args, done in [
        (("--limit", "3"), {"1", "2", "3"}),
        (("--offset", "8", "--limit", "2"), {"1", "2", "3", "9", "10"}),
    ]:
        assert project.run(*args).code == 0
        assert set(project.by_id()) == done
    assert project.run("--sample", "4", "--seed", "7").code == 0
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 12


def test_a_part_of_the_inputs_that_is_stopped_is_not_taken_for_done(project: Project, provider: Provider) -> None:
    """Results of other parts in the same file are not this part's."""
    project.give(30)
    assert project.run("--limit", "20").code == 0
    provider.script = lambda asked: refused("401 No")
    for part in (("--offset", "20", "--limit", "5"), ("--sample", "15", "--seed", "2")):
        ended = project.run(*part)
        assert ended.code == 3, ended.stderr
        assert "Continue with:" in ended.stderr
        assert "Nothing left to do" not in ended.stderr


@pytest.mark.slow
def test_a_sample_is_the_same_for_the_same_seed(project: Project, provider: Provider) -> None:
    project.give(50)
    samples = []
    for output in ("a.jsonl", "b.jsonl"):
        assert project.run("--sample", "5", "--seed", "3", "-o", output).code == 0
        samples.append(sorted(json.loads(line)["id"] for line in (project.folder / output).read_text().splitlines()))
    assert samples[0] == samples[1]
    assert len(samples[0]) == 5


def later_ones_first(asked: Asked) -> Reply:
    return good(asked.id, delay=0.3 - 0.01 * int(asked.id))


def test_ordered_results_stand_in_the_order_of_the_inputs(project: Project, provider: Provider) -> None:
    ids = project.give(20)
    project.configure(model={"max_concurrency": 20})
    provider.script = later_ones_first
    assert project.run("--limit", "10").code == 0
    assert [line["id"] for line in project.lines()] != ids[:10]
    assert project.run("--ordered").code == 0
    assert [line["id"] for line in project.lines()] == ids
    assert not faults_of(project.results, ids)


def test_results_on_stdout_are_results_alone(project: Project, provider: Provider) -> None:
    ids = project.give(20)
    project.configure(model={"max_concurrency": 20})
    provider.script = later_ones_first
    ended = project.run("-o", "-", "--ordered", "-v")
    assert ended.code == 0, ended.stderr
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == ids
    assert "All 20 items succeeded" in ended.stderr
    assert not project.results.exists()


def test_a_reader_of_results_that_leaves_ends_the_run_quietly(project: Project, provider: Provider) -> None:
    project.give(300)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, project.start("-o", "-", stdout=writing) as run:
        os.close(writing)
        head = subprocess.run(["head", "-n", "1"], stdin=reader, capture_output=True, check=True)
        reader.close()
        ended = run.end()
    assert ended.code == 141, ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads(head.stdout)["status"] == "ok"
    assert len(provider.requests) < 300


def test_the_summary_as_data(project: Project, provider: Provider) -> None:
    project.give(10)
    provider.script = some_bad("4")
    ended = project.run("--json", "--summary", "summary.json", "-q")
    assert ended.code == 1
    assert ended.summary == json.loads((project.folder / "summary.json").read_text())
    told = ended.summary
    assert (told["verdict"], told["exit_code"], told["total"]) == ("failed", 1, 10)
    assert told["counts"] == {"ok": 9, "error": 1}
    assert told["remaining"] == 0
    assert [(error["type"], error["count"]) for error in told["errors"]] == [("bad_request", 1)]
    assert told["cost_usd"] == pytest.approx(9 * 15e-6)


@pytest.mark.slow
def test_json_and_results_cannot_share_stdout(project: Project, provider: Provider) -> None:
    project.give(2)
    assert project.run("--json", "-o", "-").code == 2
    assert not provider.requests


@pytest.mark.slow
def test_quiet_says_nothing_where_nothing_is_wrong(project: Project, provider: Provider) -> None:
    project.give(2)
    ended = project.run("-q")
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"", "")
    provider.script = some_bad("1")
    ended = project.run("-q", "--overwrite")
    assert ended.code == 1
    assert "bad_request" in ended.stderr


@pytest.mark.slow
def test_overwrite_begins_again(project: Project, provider: Provider) -> None:
    ids = project.give(4)
    assert project.run().code == 0
    assert project.run("--overwrite").code == 0
    assert len(provider.requests) == 8
    assert not faults_of(project.results, ids)
    assert "--overwrite" not in project.run("--overwrite").stderr


def test_a_dry_run_sends_and_writes_nothing(project: Project, provider: Provider) -> None:
    project.give(4)
    ended = project.run("--dry-run")
    assert ended.code == 0, ended.stderr
    assert not provider.requests
    assert sorted(path.name for path in project.folder.iterdir()) == ["config.yaml", "in.jsonl"]


@pytest.mark.slow
def test_the_environment_is_options_too(project: Project, provider: Provider) -> None:
    project.give(5)
    ended = project.run(env={"AGENTBATCH_LIMIT": "2", "AGENTBATCH_OUTPUT": "other.jsonl", "AGENTBATCH_QUIET": "1"})
    assert (ended.code, ended.stderr) == (0, "")
    assert len((project.folder / "other.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.slow
def test_attempts_that_may_have_been_billed_are_counted(project: Project, provider: Provider) -> None:
    project.give(3)
    cut = Reply(raw=good("x").bytes()[:-30], then="close")
    provider.script = lambda asked: cut if asked.attempt == 1 else good(asked.id)
    ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["possibly_billed"] == 3
    assert ended.summary["retries"] == 3
    assert "may be billed too" in ended.stderr


def test_no_inputs_at_all(project: Project, provider: Provider) -> None:
    project.give(0)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert "There were no items." in ended.stderr
    assert "note     in.jsonl has no items" in ended.stderr
    project.give(3)
    assert "leave none of the 3 items of in.jsonl" in project.run("--offset", "3", "--overwrite").stderr


@pytest.mark.parametrize("option", ["--workers=2", "--address=auto"])
def test_what_is_for_ray_alone_is_not_ignored(project: Project, provider: Provider, option: str) -> None:
    project.give(1)
    typed = project.run(option)
    assert typed.code == 2
    assert "is for --engine ray" in typed.stderr
    name, _, value = option.removeprefix("--").partition("=")
    exported = project.run(env={f"AGENTBATCH_{name.upper()}": value})
    assert exported.code == 0
    assert f"note: AGENTBATCH_{name.upper()}={value}: engine.{name}: ignored" in exported.stderr


def test_a_member_that_fails_leaves_what_the_others_made(project: Project, provider: Provider) -> None:
    agents = {name: {"model": "m", "prompt": f"item={{{{ item.id }}}};{name}"} for name in ("left", "right")}
    project.configure(agents=agents, groups={"both": {"parallel": ["left", "right"]}}, workflow=["both"])
    project.give(2)
    provider.script = lambda asked: refused("400 No") if "right" in asked.prompt and asked.id == "2" else good(asked.id)
    assert project.run().code == 1
    line = project.by_id()["2"]
    assert line["status"] == "error"
    assert line["agents"]["left"]["status"] == "ok"
    assert line["agents"]["right"]["error"]["type"] == "bad_request"
    assert line["usage"] == {"input_tokens": 10, "output_tokens": 5, "requests": 2}


@pytest.mark.parametrize("option", ["--summary", "--junit", "--traces", "--events", "--record", "--log-file"])
@pytest.mark.parametrize("taken", ["in.jsonl", "config.yaml", "in.results.jsonl", "in.results.run.json"])
def test_nothing_is_written_into_another_file_of_the_run(
    project: Project, provider: Provider, option: str, taken: str
) -> None:
    project.give(1)
    before = {path.name: path.read_bytes() for path in project.folder.iterdir()}
    ended = project.run(option, taken)
    assert (ended.code, len(provider.requests)) == (2, 0)
    assert f"{taken}: is another file of this run; name another {option} FILE" in ended.stderr
    assert {path.name: path.read_bytes() for path in project.folder.iterdir()} == before
