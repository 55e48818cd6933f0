"""What a continued run says it paid twice, beside what the server and the tools counted."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from end_to_end.killing import CONCURRENCY, Campaign, call_of, script
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, as_stream

pytestmark = pytest.mark.slow

KILLS = 4
PRICE = 15e-6
"""What one answer costs: 15 tokens at a dollar a million."""


def in_pieces(asked: Asked) -> Reply:
    """The scripted answer as server-sent events."""
    return as_stream(script(asked))


def again(calls: Counter[Any]) -> int:
    return sum(count - 1 for count in calls.values())


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("workflow", ["sequence", "parallel", "loop", "tools"])
def test_the_audit_is_what_was_paid_twice_or_a_little_more(
    project: Project, provider: Provider, workflow: str, streams: bool
) -> None:
    """Every request that the server heard again is in it; and what was begun and had not left when the kill came."""
    campaign = Campaign(project, provider, workflow, random.Random(f"{workflow} {streams}"))
    if streams:
        provider.script = in_pieces
        sections = {name: value for name, value in project.config.items() if name not in ("version", "models")}
        project.configure(model={"max_concurrency": CONCURRENCY, "stream": True}, **sections)
    log = project.folder / "work.log"
    for _ in range(KILLS):
        wanted = len(provider.requests) + campaign.draw.randrange(3, 26)
        with project.start() as run:
            provider.wait_for(wanted)
            run.kill()
    ended = project.run("--json")
    assert ended.code == 0, ended.stderr

    heard = Counter(call_of(asked) for asked in provider.requests)
    answered = Counter(call_of(asked) for asked in provider.requests if asked.status)
    worked = Counter(log.read_text().splitlines()) if log.exists() else Counter[str]()
    audit = ended.summary["audit"]
    twice = audit["paid_twice"]
    assert audit["missing"] == 0
    assert again(answered) <= again(heard) <= twice["calls"] <= again(heard) + KILLS * CONCURRENCY
    assert twice["answered"] <= again(answered)
    assert twice["cost_usd"] == pytest.approx(twice["calls"] * PRICE)
    assert again(worked) <= twice["works"] <= again(worked) + KILLS * CONCURRENCY
