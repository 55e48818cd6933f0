"""A run without an engine: spans as the real one makes them, shown by the real display in a process of its own.

`python scripted_run.py '{"agents": 2, ...}'` prints `ready` on stdout once all its events have happened and then waits
for a line on stdin; so a test sees a screen that stands still, however slow the machine.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from agentbatch.progress import Pressure, Tally, open_progress, tell
from agentbatch.summary import summarize
from agentbatch.summary.text import render_summary
from agentbatch.trace import Span, SpanStatus, Tracer

FAILURES = (
    ("rate_limited", "429: too many requests, slow down"),
    ("timeout", "no whole answer within 60 s"),
    ("server", "502: <html>bad gateway</html>"),
)


@dataclass
class ScriptedRun:
    """Makes the events of items going through a sequence of agents."""

    tracer: Tracer
    agents: tuple[str, ...]
    price: float | None = 0.0001
    open_spans: list[Span] = field(default_factory=list)

    def item(self, number: int, failure: tuple[str, str] | None = None, retries: int = 0) -> Span:
        """One whole item; with a failure, its last agent fails."""
        root = self.tracer.start("item", "item")
        root.attributes.update({"item.id": str(number), "item.index": number - 1})
        for name in self.agents:
            failed = failure if name == self.agents[-1] else None
            self.agent(root, name, failed, retries)
        status, *error = self._outcome(failure)
        self.tracer.end(root, status, *error)
        return root

    def agent(self, root: Span, name: str, failure: tuple[str, str] | None = None, retries: int = 0) -> None:
        span = self.tracer.start(name, "agent", root)
        self.tracer.work(span)
        for attempt in range(1, retries + 1):
            self.call(span, attempt, FAILURES[0])
        self.call(span, retries + 1, failure)
        span.attributes.update({"path": name, "kind": "chat", "queued_s": 0.0})
        status, *error = self._outcome(failure)
        self.tracer.end(span, status, *error)

    def call(self, agent: Span, attempt: int, failure: tuple[str, str] | None) -> None:
        span = self.tracer.start("gpt-4o-mini", "chat", agent)
        span.attributes.update({"model": "gpt-4o-mini", "provider": "openai", "attempt": attempt, "queued_s": 0.0})
        if failure is None:
            span.attributes.update({"input_tokens": 120, "output_tokens": 80, "cost_usd": self.price})
        status, *error = self._outcome(failure)
        self.tracer.end(span, status, *error)

    def begin(self, name: str, working: bool) -> None:
        """An item whose agent stays queued or at work."""
        root = self.tracer.start("item", "item")
        span = self.tracer.start(name, "agent", root)
        if working:
            self.tracer.work(span)
        self.open_spans += [root, span]

    @staticmethod
    def _outcome(failure: tuple[str, str] | None) -> tuple[SpanStatus, str | None, str | None]:
        if failure is None:
            return "ok", None, None
        return ("timeout" if failure[0] == "timeout" else "error"), *failure


def main() -> None:
    options: dict[str, Any] = {
        "agents": 2, "names": None, "items": 20, "total": 50, "failures": 2, "message": None, "mode": "auto",
        "interval": 0.05, "price": 0.0001, "held_by": "rate limit rpm of model fast", "crash": False, "endless": False,
        "say": None, "no_color": False, "speed": 0.0,
    } | json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")  # fmt: skip
    names = tuple(options["names"] or (f"agent_{number}" for number in range(1, options["agents"] + 1)))
    tally = Tally()
    pressure = Pressure(76, 256, 64, 64, options["held_by"])
    progress = open_progress(
        options["mode"],
        tally,
        options["total"],
        lambda: pressure,
        interval=options["interval"],
        no_color=options["no_color"],
    )
    run = ScriptedRun(Tracer([tally]), names, options["price"])
    progress.start()
    try:
        _play(run, options)
        if options["say"]:
            progress.say(options["say"])
        print("ready", flush=True)
        if options["crash"]:
            raise ZeroDivisionError
        sys.stdin.readline()
    finally:
        progress.stop()
    summary = summarize(
        tally.counts(), verdict="failed", exit_code=1, started_at="2026-11-21T07:00:00.000000Z", total=options["total"]
    )
    tell(render_summary(summary, color=False))
    print("end", flush=True)


def _play(run: ScriptedRun, options: dict[str, Any]) -> None:
    for number in range(1, options["items"] + 1):
        failure = None
        if number <= options["failures"]:
            kind, message = FAILURES[number % len(FAILURES)]
            failure = (kind, options["message"] or message)
        run.item(number, failure, retries=number % 5 == 0)
    for name in run.agents:
        for _ in range(3):
            run.begin(name, working=True)
        run.begin(name, working=False)


if __name__ == "__main__":
    main()
