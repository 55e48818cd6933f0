"""The command as people run it: a process of its own, stopped by signals."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "agentbatch.cli.mock"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the line it greeted with."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        try:
            assert process.stderr is not None
            yield process, process.stderr.readline()
        finally:
            process.kill()


def fails(*options: str) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment(), timeout=30)
    assert done.stdout == ""
    return done.returncode, done.stderr


def snippet(greeting: str) -> dict[str, Any]:
    """The config that the greeting offers."""
    return yaml.safe_load(greeting[greeting.index("models:") :])["models"]["mock"]


def ask(greeting: str, text: str, key: str = "mock") -> tuple[int, Any]:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(snippet(greeting)["base_url"] + "/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_greets_answers_and_leaves_with_zero(number: signal.Signals):
    with running() as (process, greeting):
        assert greeting.startswith("agentbatch mock at http://127.0.0.1:")
        assert snippet(greeting)["provider"] == "openai"
        status, answer = ask(greeting, "hello")
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == "A mock answer to: hello"
        process.send_signal(number)
        out, rest = process.communicate(timeout=20)
        assert (process.returncode, out, rest) == (0, "", "")


def test_options_win_over_the_file(tmp_path: Path):
    knobs = tmp_path / "mock.yaml"
    knobs.write_text("reply: from the file\nlatency: {p50: 1ms, p95: 2ms}\nrequire_key: right\n")
    log = tmp_path / "log.jsonl"
    with running("--config", str(knobs), "--reply", "{{ prompt }}!", "--log", str(log)) as (_, greeting):
        assert ask(greeting, "hello", key="wrong")[0] == 401
        assert ask(greeting, "hello", key="right")[1]["choices"][0]["message"]["content"] == "hello!"
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [401, 200]


def test_error_options_add_up():
    options = ("--error-rate", "0.3", "--errors", "server=0.9,overloaded=0", "--latency", "min=0,max=1ms")
    with running(*options) as (_, greeting):
        found = [ask(greeting, f"question {number}")[0] for number in range(30)]
    assert {500, 429} >= set(found) - {200}
    assert found.count(500) > 15


def test_a_port_in_use_is_one_line_and_exit_code_two():
    with running() as (_, greeting):
        port = snippet(greeting)["base_url"].rpartition(":")[2].removesuffix("/v1")
        code, said = fails("--port", port)
    assert code == 2
    assert said == (
        f"error: can't listen on 127.0.0.1:{port}: Address already in use. "
        "Give another --port, or --port 0 for any free one\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--latency", "5 parsecs"], "--latency 5 parsecs: latency: expected a duration"),
        (["--latency", "p50=1s,p95=1ms"], "latency: p95 must not be less than p50"),
        (["--latency", "p50=1s"], "latency: missing key 'p95'"),
        (["--rpm", "0"], "--rpm 0: rpm: must be at least 1, got 0"),
        (["--max-in-flight", "0"], "--max-in-flight 0: max_in_flight: must be at least 1"),
        (["--errors", "server=2"], "--errors server=2: errors.server: must be at most 1"),
        (["--error-rate", "5"], "--error-rate 5: expected a share of the requests, from 0 to 1"),
        (["--errors", "foo=0.1"], "errors: unknown key 'foo'\n  expected one of: rate_limited, overloaded, "),
        (["--errors", "servr=0.1"], "unknown key 'servr'\n  did you mean 'server'?"),
        (["--errors", "server"], "--errors: 'server': expected NAME=VALUE"),
        (["--errors", "server=often"], "--errors server=often: errors.server: expected a number, got 'often'"),
        (["--reply", "{{ prompt"], "reply: unexpected end of template"),
        (["--reply", "{{ promt }}"], "--reply {{ promt }}: reply: unknown name 'promt', did you mean 'prompt'?"),
        (["--reply", "{{ input.x }}"], "unknown name 'input'; a reply knows prompt, system, "),
        (["--config", "/nosuch.yaml"], "/nosuch.yaml: no such file"),
    ],
)
def test_wrong_options_are_explained(options: list[str], words: str):
    code, said = fails(*options)
    assert code == 2
    assert words in said
    assert "Traceback" not in said and "Input should" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latncy: 1s\n", ":1:1: unknown key 'latncy'\n    1 | latncy: 1s\n      | ^^^^^^\n  did you mean 'latency'?"),
        ("rpm: 5\nhang: no\n", ":2:7: hang: expected a number, got 'no'"),
        ("outage: {start: 1s}\n", ":1:1: outage: missing key 'duration'"),
        ("- a\n", "expected a mapping of knobs"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, words: str):
    path = tmp_path / "mock.yaml"
    path.write_text(text)
    code, said = fails("--config", str(path))
    assert code == 2
    assert words in said
