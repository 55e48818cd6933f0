"""What is wrong with a config or an input is said before anything is paid, or costs one item and no more."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import KEY, Project, Running
from end_to_end.provider import Provider, Reply, good, token

BAD_CONFIGS = {
    "an unknown key": ('{"version": 1, "modles": {}}', "modles"),
    "not YAML": ("version: 1\nagents: [", "config.yaml:3"),
    "a tab": ("version: 1\nagents:\n\tx: 1", "config.yaml:3"),
    "a duplicate key": ("version: 1\nversion: 1\n", "config.yaml:2"),
    "a Python object": ("version: !!python/object/apply:os.system ['touch hacked']", "config.yaml:1"),
    "nothing": ("", "config.yaml"),
    "a list": ("- 1\n- 2\n", "config.yaml:1"),
    "endless aliases": ("a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    ), "config.yaml"),
    "itself": ("a: &a [*a]\n", "config.yaml"),
    "deep nesting": ("a: " + "[" * 20_000, "config.yaml"),
    "bytes that are no text": (b"version: 1\n\xff\xfe\x00", "config.yaml"),
}  # fmt: skip


def check_refused(project: Project, provider: Provider, *words: str, args: tuple[str, ...] = (), **more) -> str:
    ended = project.run(*args, **more)
    assert ended.code == 2, ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "should not happen" not in ended.stderr
    assert not provider.requests
    assert not project.results.exists()
    assert KEY not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("what", cases(list(BAD_CONFIGS), "an unknown key", "endless aliases"))
def test_a_bad_config_is_refused_with_its_place(project: Project, provider: Provider, what: str) -> None:
    project.give(2)
    text, place = BAD_CONFIGS[what]
    (project.folder / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    check_refused(project, provider, place)
    assert not (project.folder / "hacked").exists()


def test_what_a_template_does_not_find_is_said_before_the_first_call(project: Project, provider: Provider) -> None:
    project.give(2)
    project.configure(agents={"writer": {"model": "m", "prompt": "item={{ item.id }}; {{ inptu.text }}"}})
    check_refused(project, provider, "inptu", "input")


@pytest.mark.slow
def test_surprises_of_yaml_are_refused_with_their_line(project: Project, provider: Provider) -> None:
    project.give(2)
    text = (project.folder / "config.yaml").read_text()
    for wrong in ('"max_concurrency": "no"', '"max_concurrency": 1e3', '"max_concurrency": 12:30:45'):
        (project.folder / "config.yaml").write_text(text.replace('"max_concurrency": 8', wrong))
        check_refused(project, provider, "max_concurrency", "config.yaml:")


MISSING = {
    "not set": (None, "TEST_KEY"),
    "empty": ("", "TEST_KEY"),
    "a line too long": (f"{KEY}\n", "control character"),
    "a return": (f"{KEY}\r", "control character"),
    "beyond ASCII": (f"{KEY}é", "ASCII"),
}


@pytest.mark.parametrize("what", cases(list(MISSING), "not set", "a line too long"))
def test_a_key_that_cannot_be_sent_is_found_at_the_start(project: Project, provider: Provider, what: str) -> None:
    project.give(2)
    value, words = MISSING[what]
    check_refused(project, provider, words, env={"TEST_KEY": value})


def test_every_problem_is_told_at_once(project: Project, provider: Provider) -> None:
    project.give(2)
    project.configure(
        agents={"a": {"model": "mm", "prompt": "{{ x"}, "b": {"model": "m", "promt": "x"}}, limits={"max_cost": "much"}
    )
    check_refused(project, provider, "mm", "promt", "max_cost")


@pytest.mark.slow
def test_missing_files_are_named(project: Project, provider: Provider) -> None:
    check_refused(project, provider, "in.jsonl")
    (project.folder / "config.yaml").unlink()
    check_refused(project, provider, "config.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("args", [("--max-failures", "many"), ("--set", "nonsense"), ("--workflow", "wrtier")])
def test_wrong_options_are_refused(project: Project, provider: Provider, args: tuple[str, ...]) -> None:
    project.give(2)
    check_refused(project, provider, args=args)


# inputs

GOOD_LINES = [b'{"id": "a", "text": "1"}', b'{"id": "b", "text": "2"}', b'{"id": "c", "text": "\xc3\xa9\xe2\x80\xa8"}']
ODD_FILES = {
    "a BOM": b"\xef\xbb\xbf" + b"\n".join(GOOD_LINES) + b"\n",
    "CRLF": b"\r\n".join(GOOD_LINES) + b"\r\n",
    "blank lines": b"\n\n" + b"\n \n".join(GOOD_LINES) + b"\n\n",
    "no last newline": b"\n".join(GOOD_LINES),
}


@pytest.mark.parametrize("what", cases(list(ODD_FILES), "a BOM"))
def test_odd_files_give_the_same_items(project: Project, provider: Provider, what: str) -> None:
    project.inputs.write_bytes(ODD_FILES[what])
    assert project.run().code == 0
    assert not faults_of(project.results, "abc")
    assert sorted(asked.prompt for asked in provider.requests) == ["item=a;1", "item=b;2", "item=c;é\u2028"]


BAD_LINES = {
    b'{"id": "x"': "not JSON",
    b"[1, 2": "not JSON",
    b'{"id": "good-1", "text": "again"}': "was used in line 1",
    b'{"id": {"a": 1}, "text": ""}': "`id` must be",
    b'{"id": "nan", "text": NaN}': "NaN",
    b'{"id": "huge", "text": 1e400}': "too large",
    b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}": "nested too deeply",
    b'{"id": "lacks"}': "text",
}


def test_bad_lines_cost_nothing_and_stop_nobody(project: Project, provider: Provider) -> None:
    lines = [b'{"id": "good-1", "text": ""}', *BAD_LINES, b'{"id": "good-2", "text": ""}']
    project.inputs.write_bytes(b"\n".join(lines))
    ended = project.run()
    assert ended.code == 1, ended.stderr
    results = {line["index"]: line for line in project.lines()}
    assert len(results) == len(lines) == len({line["id"] for line in project.lines()})
    for index, reason in enumerate(BAD_LINES.values(), 1):
        error = results[index]["error"]
        assert (results[index]["status"], error["type"]) == ("error", "input")
        assert error["message"].startswith(f"in.jsonl:{index + 1}: ")
        assert reason in error["message"], (index, error)
    assert sorted(provider.ids) == ["good-1", "good-2"]
    # run again: nothing is paid, the failures are not forgotten
    assert project.run().code == 1
    assert len(provider.requests) == 2


@pytest.mark.slow
def test_characters_that_are_none_do_no_harm(project: Project, provider: Provider) -> None:
    project.inputs.write_bytes(b'{"id": "1", "text": "a\x00b\xff\xfec\\ud800d\\u0000"}\n{"id": "2", "text": "fine"}\n')
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, "12")


@pytest.mark.slow
def test_a_line_of_100_mb_is_an_error_of_its_item_and_never_held(project: Project, provider: Provider) -> None:
    with project.inputs.open("wb") as file:
        file.write(b'{"id": "1", "text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"id": "2", "text": ""}\n')
    provider.script = lambda asked: good(asked.id, delay=1.0)
    with project.start() as run:
        provider.wait_for(1)
        status = Path(f"/proc/{run.pid}/status").read_text()
        ended = run.end()
    assert ended.code == 1, ended.stderr
    lines = {line["index"]: line for line in project.lines()}
    assert "too large" in lines[0]["error"]["message"]
    assert lines[1]["status"] == "ok"
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak_kb < 200 * 1024


@pytest.mark.slow
def test_a_damaged_gzip_is_refused_by_name(project: Project, provider: Provider) -> None:
    whole = gzip.compress(b'{"id": "1", "text": ""}\n' * 1000)
    (project.folder / "in.jsonl").write_bytes(whole[: len(whole) // 2])
    check_refused(project, provider, "in.jsonl", "gzip")


@pytest.mark.slow
def test_inputs_that_change_while_they_are_read_stop_the_run(project: Project, provider: Provider) -> None:
    """Nobody can know which of them a result belongs to."""
    project.give([{"text": "x" * 20_000} for _ in range(400)])  # more than a reader holds in its buffer
    provider.script = lambda asked: good(asked.id, delay=0.05)
    with project.start() as run:
        provider.wait_for(10)
        with project.inputs.open("r+b") as file:
            file.truncate(20_000)
        ended = run.end()
    assert ended.code == 2, ended.stderr
    assert "became shorter" in ended.stderr


# what a continuation must be of


def begun(project: Project) -> None:
    project.give(6)
    assert project.run("--limit", "3").code == 0


WRITER = {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"}
CHANGES = {
    "a prompt": (lambda p: p.configure(agents={"writer": {**WRITER, "prompt": "item={{ item.id }};"}}), "r.prompt"),
    "a model": (lambda p: p.configure(model={"model": "other"}), "models.m.model"),
    "params": (lambda p: p.configure(model={"params": {"temperature": 1}}), "models.m.params"),
    "the inputs": (lambda p: p.give([{"text": "other"}] * 6), "the inputs changed"),
    "another agent": (lambda p: p.configure(agents={"scribe": WRITER}), "agents.scribe was added"),
}  # fmt: skip


@pytest.mark.parametrize("what", cases(list(CHANGES), "a prompt"))
def test_a_change_of_what_shapes_an_answer_is_refused_by_name(project: Project, provider: Provider, what: str) -> None:
    begun(project)
    change, name = CHANGES[what]
    change(project)
    before = project.results.read_bytes()
    ended = project.run()
    assert ended.code == 2, ended.stderr
    assert name in ended.stderr
    assert "--overwrite" in ended.stderr
    assert project.results.read_bytes() == before
    assert len(provider.requests) == 3
    assert project.run("--overwrite").code == 0
    assert len(provider.requests) == 9


def test_changed_limits_and_keys_are_no_change(project: Project, provider: Provider) -> None:
    begun(project)
    project.configure(
        model={"max_concurrency": 2, "rpm": 6000, "timeout": "9s", "retries": 7, "price": {"input": 3, "output": 4}},
        limits={"max_concurrency": 3, "max_failures": 1, "max_cost": 9.0},
    )
    ended = project.run("--max-concurrency", "2", env={"TEST_KEY": "another-key-12345"})
    assert ended.code == 0, ended.stderr
    assert len(provider.requests) == 6
    assert len(project.lines()) == 6


@pytest.mark.slow
def test_a_prompt_file_is_part_of_what_shapes_an_answer(project: Project, provider: Provider) -> None:
    prompt = project.folder / "prompt.j2"
    prompt.write_text("item={{ item.id }};one")
    project.configure(agents={"writer": {"model": "m", "prompt": "file://prompt.j2"}})
    begun(project)
    prompt.write_text("item={{ item.id }};two")
    assert project.run().code == 2
    prompt.write_text("item={{ item.id }};one")
    assert project.run().code == 0
    assert len(provider.requests) == 6


# stdin

FEED = b"".join(b'{"text": "%d"}\n' % number for number in range(30))
STDIN = ("run", "config.yaml", "-", "-o", "in.results.jsonl")


@contextmanager
def fed(project: Project, data: bytes) -> Iterator[Running]:
    """A run over what another process pipes into it."""
    feed = project.folder / "feed"
    feed.write_bytes(data)
    with feed.open("rb") as file, project.start_verb(*STDIN, under=["sh", "-c", 'cat | "$@"', "sh"], stdin=file) as run:
        yield run


@pytest.mark.slow
def test_stdin_that_is_cut_short_by_a_crash_continues_with_the_same_stdin(project: Project, provider: Provider) -> None:
    ids = [str(number) for number in range(1, 31)]
    provider.script = lambda asked: good(asked.id) if asked.number <= 12 else Reply(raw=b"", then="hang")
    with fed(project, FEED) as run:
        provider.wait_for(16)
        run.kill()
    provider.script = lambda asked: good(asked.id)
    with fed(project, FEED) as run:
        ended = run.end()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    with fed(project, FEED.replace(b"7", b"x")) as run:
        ended = run.end()
    assert ended.code == 2
    assert "stdin:8" in ended.stderr
    with fed(project, FEED[:100]) as run:
        assert run.end().code == 2


@contextmanager
def piped(project: Project) -> Iterator[tuple[Running, IO[bytes]]]:
    """A run whose stdin the test holds."""
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "wb", buffering=0) as pipe,
        os.fdopen(reading, "rb") as stdin,
        project.start_verb(*STDIN, stdin=stdin) as run,
    ):
        yield run, pipe


def test_an_idle_stdin_does_not_hold_the_end(project: Project, provider: Provider) -> None:
    with piped(project) as (run, pipe):
        pipe.write(FEED[:45])
        provider.wait_for(3, answered=True)
        run.send(signal.SIGINT)
        ended = run.end(5)
    assert ended.code == 130, ended.stderr
    assert {line["output"] for line in project.lines()} == {token(one) for one in "123"}


@pytest.mark.slow
def test_answers_come_while_stdin_still_flows(project: Project, provider: Provider) -> None:
    with piped(project) as (run, pipe):
        for number in (1, 2):
            pipe.write(FEED.splitlines(keepends=True)[number])
            provider.wait_for(number, answered=True)
        pipe.close()
        assert run.end().code == 0
    assert len(project.lines()) == 2
