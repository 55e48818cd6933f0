"""Two hundred kills, in every way there is, over every shape of workflow: nothing lost, nothing paid twice.

What is not journalled yet is paid again and may be: it was in flight.
"""

from __future__ import annotations

import random
from itertools import cycle

import pytest
from end_to_end.killing import WAYS, WORKFLOWS, Campaign, at_a_request, at_a_time
from end_to_end.project import Project
from end_to_end.provider import Provider
from end_to_end.tracing import can_trace

KILLS = 40


def told(campaign: Campaign) -> str:
    kills = ", ".join(f"{count} {name}" for name, count in sorted(campaign.kills.items()))
    return (
        f"{campaign.workflow}: {campaign.kills.total()} kills ({kills}) in {campaign.rounds} runs;"
        f" {campaign.requests} calls, {campaign.recalled} from the journal;"
        " 0 lost, 0 doubled, 0 mixed up, 0 committed or journalled paid again"
    )


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_killed_in_every_way(project: Project, provider: Provider, workflow: str) -> None:
    campaign = Campaign(project, provider, workflow, random.Random(workflow))
    for _ in range(3 * KILLS):
        rarest = min(WAYS, key=lambda way: campaign.kills[way])
        campaign.kill(rarest, WAYS[rarest])
        if campaign.kills.total() >= KILLS:
            break
    campaign.end()
    print(told(campaign))
    assert campaign.kills.total() >= KILLS
    assert campaign.kills.keys() == WAYS.keys()
    assert campaign.recalled


@pytest.mark.slow
def test_five_steps_with_tools_killed_fifty_times(project: Project, provider: Provider) -> None:
    campaign = Campaign(project, provider, "tools", random.Random(5))
    ways = cycle([("request", at_a_request), ("time", at_a_time)])
    while campaign.kills.total() < 50:
        campaign.kill(*next(ways))
    campaign.end()
    print(told(campaign))


def test_killed_in_its_middle_a_workflow_with_tools_keeps_what_was_paid(project: Project, provider: Provider) -> None:
    campaign = Campaign(project, provider, "tools", random.Random(1))
    campaign.kill("request", at_a_request)
    campaign.end()
    assert campaign.rounds
