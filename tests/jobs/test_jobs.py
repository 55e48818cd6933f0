"""Runs submitted to a cluster over the Jobs API, with the real commands and a dashboard without Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs.dashboard import Dashboard, serving

from agentbatch.config import load
from agentbatch.errors import ConfigError, InputError
from agentbatch.jobs.address import cluster_address
from agentbatch.jobs.head import forget_old
from agentbatch.jobs.submission import make_submission, run_of_id
from agentbatch.jobs.transfer import Have, have, read_parts, say_parts

CONFIG = """\
version: 1
models: {m: {provider: mock, latency: 20ms, max_concurrency: 4}}
agents: {a: {model: m, prompt: "Hello {{ input.n }} from ${HEAD_KEY:?a key}"}}
workflow: a
"""


@dataclass
class Laptop:
    """A folder from which runs are submitted."""

    folder: Path
    dashboard: Dashboard
    token: str = ""

    def write(self, items: int, latency: str = "20ms") -> None:
        (self.folder / "c.yaml").write_text(CONFIG.replace("20ms", latency))
        (self.folder / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(items)))

    def run(self, *words: str, code: int = 0, **more: str) -> str:
        """What a command says on stdout, or what went wrong."""
        environ = {
            **{name: value for name, value in os.environ.items() if name != "HEAD_KEY"},
            "AGENTBATCH_JOBS_ADDRESS": self.dashboard.url,
            "RAY_AUTH_TOKEN": self.token,
            "OTHER_API_KEY": "canary-of-the-laptop",
            "HOME": str(self.folder),
            **more,
        }
        done = subprocess.run(
            [sys.executable, "-m", "agentbatch", *words],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    def submit(self, *words: str) -> str:
        return self.run("submit", "c.yaml", "in.jsonl", *words).strip()

    def results(self) -> list[int]:
        lines = (self.folder / "in.results.jsonl").read_text().splitlines()
        return [json.loads(line)["index"] for line in lines]


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    (tmp_path / "head").mkdir()
    (tmp_path / "laptop").mkdir()
    with serving(tmp_path / "head") as dashboard:
        yield Laptop(tmp_path / "laptop", dashboard)


def test_a_run_there_and_its_results_home(laptop: Laptop):
    laptop.write(30)
    (laptop.folder / ".env").write_text("OTHER_API_KEY=canary-in-the-file\n")
    job = laptop.submit("--limit", "20")
    assert "All 20 items succeeded" in laptop.run("logs", "-f", job)
    assert "succeeded" in laptop.run("status", job)
    assert [each["id"] for each in json.loads(laptop.run("status", "--json"))["jobs"]] == [job]
    said = laptop.run("fetch", job)
    assert said.count("new") == 1
    assert sorted(laptop.results()) == list(range(20))
    assert len((laptop.folder / "in.results.traces.jsonl").read_text().splitlines()) == 20
    assert "0 of them new" in laptop.run("fetch", job)
    sent = b"".join([*laptop.dashboard.bodies, *laptop.dashboard.packages.values()])
    assert b"canary" not in sent
    assert b"key-of-the-head" not in sent
    assert laptop.dashboard.jobs.keys() == {job}


def test_what_is_stopped_is_continued_by_the_same_submit(laptop: Laptop):
    laptop.write(600, "300ms")
    job = laptop.submit()
    give_up = time.monotonic() + 60
    while not any(path.stat().st_size for path in laptop.dashboard.home.glob("*/in.results.jsonl")):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert job in laptop.run("submit", "c.yaml", "in.jsonl", code=75)
    assert "stopped" in laptop.run("stop", job)
    laptop.run("fetch", job, "--no-traces")
    before = laptop.results()
    assert 0 < len(before) < 600
    again = laptop.submit("--set", "models.m.max_concurrency=200")
    assert again != job
    assert run_of_id(again) == run_of_id(job)
    laptop.run("logs", "-f", again)
    laptop.run("fetch", again)
    assert laptop.results()[: len(before)] == before
    assert sorted(laptop.results()) == list(range(600))
    # what came home are a run's files like any others
    came = (laptop.folder / "in.results.jsonl").read_bytes()
    laptop.run("run", "c.yaml", "in.jsonl", HEAD_KEY="key-of-the-head")
    assert (laptop.folder / "in.results.jsonl").read_bytes() == came


def test_options_that_variables_give_go_along(laptop: Laptop):
    laptop.write(30)
    settings = "models.m.retries=2\nmodels.m.rpm=9000"
    given = {"AGENTBATCH_LIMIT": "20", "AGENTBATCH_NO_CACHE": "1", "AGENTBATCH_SET": settings}
    job = laptop.run("submit", "c.yaml", "in.jsonl", "--limit", "7", AGENTBATCH_OUTPUT="here.jsonl", **given).strip()
    assert "All 7 items succeeded" in laptop.run("logs", "-f", job)
    (body,) = [json.loads(each) for each in laptop.dashboard.bodies if b"entrypoint" in each]
    assert body["entrypoint"].count("--limit") == 1
    assert "--set=models.m.retries=2 --set=models.m.rpm=9000" in body["entrypoint"]
    assert "--no-cache" in body["entrypoint"]
    assert "here.jsonl" not in body["entrypoint"]


def test_a_file_that_is_another_runs_is_left_alone(laptop: Laptop):
    laptop.write(3)
    job = laptop.submit()
    laptop.run("logs", "-f", job)
    (laptop.folder / "in.results.jsonl").write_text("mine\n")
    assert "no beginning" in laptop.run("fetch", job, code=74)
    assert (laptop.folder / "in.results.jsonl").read_text() == "mine\n"


def test_results_outlive_the_job_and_ray(laptop: Laptop):
    laptop.write(3)
    job = laptop.submit()
    laptop.run("logs", "-f", job)
    del laptop.dashboard.jobs[job]
    assert "no job" in laptop.run("fetch", job, code=2)
    laptop.run("fetch", job, "-o", "in.results.jsonl")
    assert sorted(laptop.results()) == [0, 1, 2]
    assert "there is no run nothing" in laptop.run("fetch", "nothing-123456", "-o", "x.jsonl", code=2)


def test_failures_are_the_runs_exit_code(laptop: Laptop):
    laptop.write(3)
    job = laptop.submit("--set", "models.m.errors={bad_request: 1.0}")
    laptop.run("logs", "-f", job, code=1)
    assert "exit code 1" in laptop.run("status", job)


def test_what_cannot_be_is_said_in_one_line(laptop: Laptop):
    laptop.write(3)
    for words, told in [
        (["status", "nothing-123456"], "no job nothing-123456"),
        (["status", "--address", "http://127.0.0.1:9"], "can't be reached"),
        (["status", "--address", "http://127.0.0.1:6379"], "port 8265"),
        (["status", "--address", "ftp://x"], "http://HEAD:8265"),
        (["status", "--address", "http://h:82x5"], "http://HEAD:8265"),
        (["submit", "c.yaml", "-"], "is no file"),
        (["submit", "c.yaml", "in.jsonl", "--name", "../x"], "--name"),
        (["submit", "c.yaml", "in.jsonl", "--traces", "x"], "--traces has no place"),
        (["submit", "c.yaml", "in.jsonl", "--ordered"], "--ordered has no place in a submit: results are"),
        (["submit", "c.yaml", "in.jsonl", "--engine", "local"], "a job runs on the cluster that takes it"),
        (["submit", "c.yaml", "in.jsonl", "--json"], "`agentbatch logs` shows"),
        (["submit", "c.yaml", "in.jsonl", "--max-failures", "5x"], "--max-failures 5x"),
        (["submit", "c.yaml", "in.jsonl", "--nonsense"], "--nonsense"),
        (["submit", "c.yaml", "in.jsonl", "--set", "agents.a.prompt=my api_key=sk-abcdefghijk12345678"], "dashboard"),
    ]:
        assert told in laptop.run(*words, code=2)
    assert laptop.dashboard.jobs == {}


def test_a_folder_that_is_missing_is_told_as_by_run(laptop: Laptop):
    laptop.write(1)
    assert "make it: mkdir -p" in laptop.run("fetch", "a-123456", "-o", "none/x.jsonl", code=74)


def test_what_has_ended_is_not_said_to_continue(laptop: Laptop):
    laptop.write(1)
    job = laptop.submit()
    laptop.run("logs", "-f", job)
    said = laptop.run("stop", job)
    assert "succeeded" in said
    assert "continues" not in said


def test_a_fetch_that_fails_leaves_no_job_behind(laptop: Laptop):
    laptop.write(1)
    job = laptop.submit()
    laptop.run("logs", "-f", job)
    laptop.dashboard.broken = "logs"
    assert "refused (HTTP 500): broken" in laptop.run("fetch", job, code=2)
    assert laptop.dashboard.jobs.keys() == {job}


def test_a_cluster_that_wants_a_token(laptop: Laptop):
    laptop.dashboard.token = "let-me-in"
    assert "was given none" in laptop.run("status", code=2)
    laptop.token = "wrong"
    said = laptop.run("status", code=2)
    assert "refuses this one" in said
    assert "wrong" not in said
    laptop.token = "let-me-in"
    assert "no jobs" in laptop.run("status")


def test_too_large_a_package_is_refused_before_it_is_sent(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(CONFIG.replace("${HEAD_KEY:?a key}", "me"))
    (tmp_path / "in.jsonl").write_bytes(os.urandom(2 * 1024**2).hex().encode())
    config = load(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=r"in\.jsonl.*larger"):
        make_submission(config, str(tmp_path / "in.jsonl"), None, 60, [], most=1024**2)
    with pytest.raises(InputError, match="is no file"):
        make_submission(config, str(tmp_path / "other.jsonl"), None, 60, [])


def test_the_same_files_make_the_same_job(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(CONFIG.replace("${HEAD_KEY:?a key}", "me"))
    (tmp_path / "in.jsonl").write_text("{}\n")
    made = [make_submission(load(tmp_path / "c.yaml"), str(tmp_path / "in.jsonl"), None, 60, []) for _ in range(2)]
    assert made[0].name == made[1].name
    assert made[0].package.digest == made[1].package.digest
    (tmp_path / "in.jsonl").write_text("{}\n{}\n")
    other = make_submission(load(tmp_path / "c.yaml"), str(tmp_path / "in.jsonl"), None, 60, [])
    assert other.name == made[0].name
    assert other.package.digest != made[0].package.digest


def test_files_come_in_parts_from_where_the_other_end_stops(tmp_path: Path):
    there, here = tmp_path / "there", tmp_path / "here"
    there.write_bytes(b"".join(os.urandom(40_000).hex().encode() + b"\n" for _ in range(60)) + b"half a li")
    here.touch()
    asked = 0
    while True:
        brought = read_parts("\n".join(say_parts({"results": there}, {"results": have(here)}, 1_000_000)))
        assert brought is not None
        asked += 1
        with here.open("ab") as file:
            for block in brought.blocks:
                assert file.tell() == block.start
                file.write(block.data)
        if not brought.more:
            break
    assert asked > 2
    assert here.read_bytes() == there.read_bytes().removesuffix(b"half a li")
    different = read_parts("\n".join(say_parts({"results": there}, {"results": Have(3, "0" * 64)})))
    assert different is not None
    assert different.different == ["results"]
    assert different.blocks == []
    assert read_parts("Running entrypoint\nkilled") is None


def test_a_log_that_is_cut_anywhere_is_not_whole_yet(tmp_path: Path):
    results = tmp_path / "results.jsonl"
    results.write_bytes(b"".join(b'{"index":%d}\n' % n for n in range(60)))
    log = "\n".join(say_parts({"results": results}, {"results": Have(0, "")}))
    assert read_parts(log) is not None
    assert [size for size in range(len(log)) if read_parts(log[:size]) is not None] == []
    assert read_parts(log.replace(" 0 eJ", " 0 e")) is None


def test_runs_are_forgotten_when_their_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTBATCH_JOBS", str(tmp_path))
    for name, keep_s in [("old", 10), ("kept", 10_000)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").write_text(json.dumps({"results": "r.jsonl", "keep_s": keep_s}))
    (tmp_path / "somebody's").mkdir()
    forget_old(time.time() + 5)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "kept", "somebody's"}
    forget_old(time.time() + 100)
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "somebody's"}


def test_where_the_dashboard_is():
    assert cluster_address("http://head", {"RAY_AUTH_MODE": "disabled"}).url == "http://head:8265"
    assert cluster_address(None, {"RAY_ADDRESS": "https://x/y/"}).url == "https://x/y"
    assert cluster_address("h:1", {"RAY_AUTH_TOKEN": " t\n"}).token == "t"
    with pytest.raises(ConfigError, match="which cluster"):
        cluster_address(None, {})
    for wrong in ["http://h:82x5", "http://h:99999", "http://[x", "ftp://h", "http://"]:
        with pytest.raises(ConfigError, match="expected the dashboard's URL"):
            cluster_address(wrong, {})
