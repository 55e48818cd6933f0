"""How a run ended, for whoever tells it."""

from agentbatch.summary import Summary

SUMMARY = Summary(
    verdict="failed",
    exit_code=1,
    total=3,
    before={},
    counts={"ok": 3},
    remaining=0,
    errors=(),
    agents=(),
    started_at="2026-11-21T07:00:00.000000Z",
    wall_s=83.2,
)
