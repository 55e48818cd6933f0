"""Ways to end a run that it does not see coming, and the books of what it must not pay for again."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from end_to_end.checker import committed, faults_of
from end_to_end.project import Project, may_grow_to
from end_to_end.provider import Asked, Provider, Reply, good
from end_to_end.tracing import strace

from agentbatch.results.files import ResultFiles

Call = tuple[str, str, int]
"""An item's id, the path of a step, and the number of the call in it."""

ITEMS = 40
CONCURRENCY = 6

_STEP = re.compile(r"item=([^;]*);step=([^;]*);(?:round=([^;]*);)?")

WORK = '''
import os

def note(item, path, number):
    """What was really done, in a file that no kill can take back."""
    log = os.open("LOG", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"{item} {path} {number}\\n".encode())
    os.close(log)

def look(item: str, number: int) -> str:
    """Look something up."""
    note(item, "research", number)
    return "seen"

def check(item, input):
    note(item["id"], "check", 1)
    return "checked"
'''


def asking(step: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": f"item={{{{ item.id }}}};step={step};", **more}


def _workflows(log: Path) -> Mapping[str, dict[str, Any]]:
    """Configs by name. Each ends with a step whose answer holds its item's token."""
    rounds = "round={{ critic.output | default('0') }};"
    count = ["sh", "-c", f'echo "$1 count 1" >> {log}; echo counted', "count", "{{ item.id }}"]
    return {
        "sequence": {
            "agents": {name: asking(name) for name in ("first", "second", "final")},
            "workflow": ["first", "second", "final"],
        },
        "parallel": {
            "agents": {name: asking(name) for name in ("one", "two", "three", "final")},
            "groups": {"all": {"parallel": ["one", "two", "three"]}},
            "workflow": ["all", "final"],
        },
        "loop": {
            "agents": {
                "writer": {"model": "m", "prompt": "item={{ item.id }};step=writer;" + rounds},
                "critic": {"model": "m", "prompt": "item={{ item.id }};step=critic;" + rounds},
                "final": asking("final"),
            },
            "groups": {
                "refine": {"loop": ["writer", "critic"], "until": "critic.output | int >= 3", "max_iterations": 5}
            },
            "workflow": ["refine", "final"],
        },
        "tools": {
            "tools": {"look": {"function": "work:look"}},
            "agents": {
                "research": {**asking("research"), "kind": "react", "tools": ["look"]},
                "count": {"kind": "command", "command": count},
                "check": {"kind": "function", "function": "work:check"},
                "draft": asking("draft"),
                "final": asking("final"),
            },
            "workflow": ["research", "count", "check", "draft", "final"],
        },
    }


WORKFLOWS = ("sequence", "parallel", "loop", "tools")


def call_of(asked: Asked) -> Call:
    """Which call of the workflow a request is."""
    messages = json.loads(asked.body)["messages"]
    found = _STEP.search(next(one["content"] for one in messages if one["role"] == "user"))
    assert found, messages
    item, step, rounds = found.groups()
    turn = sum(one["role"] == "assistant" for one in messages)
    path = step if rounds is None else f"refine[{int(rounds) + 1}].{step}"
    return item, path, 2 * turn + 1


def script(asked: Asked) -> Reply:
    """Answers of different lengths; a critic counts, a researcher looks twice."""
    item, path, number = call_of(asked)
    delay = 0.002 + 0.02 * random.Random(f"{item} {path} {number}").random()
    if path.endswith("critic"):
        return good(item, delay, text=str(int(path.partition("[")[2].partition("]")[0])))
    if path == "research" and number < 5:
        arguments = json.dumps({"item": item, "number": number + 1})
        function = {"name": "look", "arguments": arguments}
        call = {"id": f"c{number}", "type": "function", "function": function}
        return good(item, delay, text="", finish="tool_calls", tool_calls=[call])
    return good(item, delay)


@dataclass
class Campaign:
    """A project whose run is killed again and again, and what must never happen meanwhile."""

    project: Project
    provider: Provider
    workflow: str
    draw: random.Random
    kills: Counter[str] = field(default_factory=Counter[str])
    """By the way they were done."""
    rounds: int = 0
    """How often the run came to its end and began again."""
    requests: int = 0
    recalled: int = 0
    """Calls that stood in the journal after a kill."""
    _kept: set[Call] = field(default_factory=set[Call])
    _committed: set[str] = field(default_factory=set[str])
    _seen: int = 0
    _ids: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        (self.project.folder / "work.py").write_text(WORK.replace("LOG", str(self._log)))
        config = _workflows(self._log)[self.workflow]
        self.project.configure(model={"max_concurrency": CONCURRENCY}, **config)
        self.provider.script = script
        self._ids = self.project.give(ITEMS)

    @property
    def _log(self) -> Path:
        return self.project.folder / "work.log"

    def kill(self, name: str, way: Way) -> None:
        """Begin or continue the run, and end it that way; look at what is left; begin anew where it was finished."""
        code = way(self)
        self._look()
        if code == 0:
            self._finish()
        else:
            self.kills[name] += 1

    def end(self) -> None:
        """Let it come to its end."""
        ended = self.project.run()
        assert ended.code == 0, ended.stderr
        self._look()
        self._finish()

    def _look(self) -> None:
        """Nothing is lost, doubled, mixed up or paid again so far."""
        faults = faults_of(self.project.results, self._ids, complete=False)
        torn = [line for line in faults.torn if line.endswith(b"\n") and line.strip(b"\0\n")]
        assert not (faults.doubled or faults.mixed_up or faults.strangers or torn), faults
        calls = [call_of(asked) for asked in self.provider.requests[self._seen :]] + self._work_done()
        self.requests += len(calls)
        assert not [call for call in calls if call[0] in self._committed], "a committed item was paid again"
        assert not [call for call in calls if call in self._kept], "a journalled call was paid again"
        now = committed(self.project.results) | self._without_newline()
        assert self._committed <= now, "a committed result was lost"
        self._committed, self._seen = now, len(self.provider.requests)
        kept = self._journalled()
        self.recalled += len(kept - self._kept)
        self._kept |= kept

    def _without_newline(self) -> set[str]:
        """The item of a whole last line that lost its newline: it counts."""
        with suppress(FileNotFoundError, ValueError):
            return {str(json.loads(self.project.results.read_bytes().rpartition(b"\n")[2])["id"])}
        return set()

    def _finish(self) -> None:
        assert not faults_of(self.project.results, self._ids)
        assert not list(self.project.folder.glob("*.sqlite*")), "a complete run needs no journal"
        for path in self.project.folder.glob("in.results.*"):
            path.unlink()
        self.rounds += 1
        self._kept, self._committed = set(), set()

    def _work_done(self) -> list[Call]:
        """Calls of tools, commands and functions since the last look."""
        with suppress(FileNotFoundError):
            lines = self._log.read_text().splitlines()
            self._log.unlink()
            return [(item, path, int(number)) for item, path, number in (line.split() for line in lines)]
        return []

    def _journalled(self) -> set[Call]:
        """What the journal holds: of a copy, so that its recovery is left to the next run."""
        journal = ResultFiles(self.project.results).journal
        if not journal.exists():
            return set()
        copies = [self.project.folder / f"copy{suffix}" for suffix in ("", "-wal", "-shm")]
        for copy, suffix in zip(copies, ("", "-wal"), strict=False):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{journal}{suffix}", copy)
        with closing(sqlite3.connect(copies[0])) as database:
            tables = list(database.execute("SELECT name FROM sqlite_master"))
            rows = list(database.execute("SELECT item, path, number FROM calls")) if tables else []
        for copy in copies:
            copy.unlink(missing_ok=True)
        return {(str(item + 1), path, number) for item, path, number in rows}


Way = Callable[[Campaign], int]
"""Begins the run and ends it; returns its exit code, which is 0 where it came to its end before."""


def at_a_time(campaign: Campaign) -> int:
    """After so many seconds, be it while it starts or works."""
    with campaign.project.start() as run:
        try:
            return run.process.wait(campaign.draw.uniform(0.2, 1.3))
        except subprocess.TimeoutExpired:
            run.kill()
            return -9


def at_a_request(campaign: Campaign) -> int:
    """When so many more requests have come."""
    with campaign.project.start() as run:
        wanted = len(campaign.provider.requests) + campaign.draw.randrange(1, 60)
        while run.process.poll() is None and len(campaign.provider.requests) < wanted:
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(0.005)
        code = run.process.poll()
        if code is None:
            run.kill()
        return -9 if code is None else code


def at_a_byte(campaign: Campaign) -> int:
    """No file may grow beyond so many bytes: a line is torn, and the run ends by itself."""
    size = campaign.project.results.stat().st_size if campaign.project.results.exists() else 0
    limit = size + campaign.draw.randrange(1, 4000)
    return campaign.project.run("--no-traces", under=may_grow_to(limit)).code


def at_a_call(name: str, call: str, most: int) -> Way:
    """At the n-th system call of that kind on that file."""

    def way(campaign: Campaign) -> int:
        file = campaign.project.folder / name
        inject = strace(file, call, f"signal=KILL:when={campaign.draw.randrange(1, most)}")
        return campaign.project.run(under=inject).code

    return way


def with_a_torn_tail(tail: bytes) -> Way:
    """At a request, and the power cut leaves something behind what was committed; empty takes the newline away."""

    def way(campaign: Campaign) -> int:
        code = at_a_request(campaign)
        results = campaign.project.results
        if code and results.exists():
            whole = results.read_bytes()
            if whole.endswith(b"\n"):
                results.write_bytes(whole + tail if tail else whole[:-1])
        return code

    return way


WAYS: Mapping[str, Way] = {
    "time": at_a_time,
    "request": at_a_request,
    "byte": at_a_byte,
    "write of a result": at_a_call("in.results.jsonl", "write", 12),
    "sync of a result": at_a_call("in.results.jsonl", "fdatasync", 12),
    "write of the journal": at_a_call("in.results.journal.sqlite-wal", "pwrite64", 60),
    "sync of the journal": at_a_call("in.results.journal.sqlite-wal", "fdatasync", 20),
    "header put in place": at_a_call("in.results.run.json", "rename", 2),
    "half a line": with_a_torn_tail(b'{"id":"7","index":6,"status":"ok","out'),
    "NUL": with_a_torn_tail(bytes(700)),
    "garbage": with_a_torn_tail(b"\x8f\x02{{{\xff\xfe\x00\x01"),
    "newline gone": with_a_torn_tail(b""),
}
