"""Results that a crash, a power cut or a person has left in a bad state: healed where that is safe, else refused."""

from __future__ import annotations

import json

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Provider

from agentbatch.text.figures import counted

TAILS = {
    "half a line": b'{"id":"7","index":6,"status":"ok","out',
    "filled with NUL": bytes(512),
    "garbage": b"\x8f\x02{{{\xff\xfe\n\x00\x01",
    "a cut letter": '{"id":"7","index":6,"status":"ok","output":"ä'.encode()[:-1],
    "an opening brace": b"{",
}


@pytest.mark.parametrize("tail", cases(TAILS, "half a line"))
def test_a_torn_end_is_cut_and_only_its_item_runs_again(project: Project, provider: Provider, tail: bytes) -> None:
    ids = project.give(8)
    assert project.run("--limit", "5").code == 0
    with project.results.open("ab") as results:
        results.write(tail)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert f"cut {counted(len(tail), 'byte')} that a crash left" in ended.stderr
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 8


@pytest.mark.slow
def test_a_last_line_that_lost_its_newline_counts_and_nothing_is_glued_to_it(
    project: Project, provider: Provider
) -> None:
    ids = project.give(8)
    assert project.run("--limit", "5").code == 0
    project.results.write_bytes(project.results.read_bytes().rstrip(b"\n"))
    assert project.run("--limit", "6").code == 0
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 8


@pytest.mark.slow
def test_a_tail_cut_at_any_byte_costs_one_item_at_most(project: Project, provider: Provider) -> None:
    ids = project.give(4)
    assert project.run().code == 0
    whole = project.results.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for missing in (2, last // 2, last - 1, last):
        project.results.write_bytes(whole[:-missing])
        asked = len(provider.requests)
        assert project.run().code == 0
        assert not faults_of(project.results, ids)
        assert len(provider.requests) == asked + 1


DAMAGES = {
    "a byte flipped": lambda line: line.replace(b'"index":', b'"inde\xf7":', 1),
    "cut in the middle": lambda line: line[: len(line) // 2] + b"\n",
    "filled with NUL": lambda line: bytes(len(line) - 1) + b"\n",
    "something else's JSON": lambda line: b'{"hello": "world"}\n',
}


@pytest.mark.parametrize("damage", cases(DAMAGES, "a byte flipped"))
def test_damage_in_the_middle_stops_the_run_with_its_line_and_touches_nothing(
    project: Project, provider: Provider, damage
) -> None:
    project.give(6)
    assert project.run("--limit", "5").code == 0
    lines = project.results.read_bytes().splitlines(keepends=True)
    damaged = str(json.loads(lines[2])["id"])
    lines[2] = damage(lines[2])
    project.results.write_bytes(b"".join(lines))
    refused = project.run()
    assert refused.code == 2
    assert "in.results.jsonl:3: damaged" in refused.stderr
    assert "agentbatch doctor in.results.jsonl" in refused.stderr
    assert project.results.read_bytes() == b"".join(lines)
    assert len(provider.requests) == 5
    # the command in the message mends it: the item runs again, and no other
    with project.start_verb("doctor", "in.results.jsonl", "--repair") as doctor:
        assert doctor.end().code == 0
    assert project.run().code == 0
    assert not faults_of(project.results, [str(number) for number in range(1, 7)])
    assert len(provider.requests) == 7
    assert provider.counts[damaged] == 2


@pytest.mark.slow
def test_results_without_their_header_are_not_touched(project: Project, provider: Provider) -> None:
    """Nobody can tell what they belong to."""
    project.give(3)
    assert project.run().code == 0
    before = project.results.read_bytes()
    (project.folder / "in.results.run.json").unlink()
    refused = project.run()
    assert refused.code == 2
    assert "--overwrite" in refused.stderr
    assert project.results.read_bytes() == before
    assert len(provider.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize("header", [b"", b"{", b"\x00" * 40, b"[]"], ids=["empty", "torn", "NUL", "another shape"])
def test_a_damaged_header_is_refused(project: Project, provider: Provider, header: bytes) -> None:
    project.give(3)
    assert project.run().code == 0
    (project.folder / "in.results.run.json").write_bytes(header)
    refused = project.run()
    assert refused.code == 2
    assert "in.results.run.json" in refused.stderr
    assert len(provider.requests) == 3


@pytest.mark.slow
def test_results_of_the_first_format_are_continued(project: Project, provider: Provider) -> None:
    """Lines with no more than the fields that every version has written."""
    ids = project.give(3)
    assert project.run("--limit", "2").code == 0
    lines = project.lines()
    bare = [{key: line[key] for key in ("id", "index", "status", "output", "error", "trace_id")} for line in lines]
    project.results.write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 3
