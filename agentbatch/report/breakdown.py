"""What each agent, or each model, did and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentbatch.record import record
from agentbatch.report.durations import Durations, Spread
from agentbatch.report.result_lines import StepLine


@record
class Share:
    """One agent's or one model's part of a run.

    Attributes:
        name: the agent's, or the model's.
        provider: of the model; empty for an agent.
        ok, failed, skipped: how its runs (an agent) or its attempts (a model) ended; cancelled ones count nowhere.
        attempts: requests sent, retries included.
        retries: attempts that came after a failed one; None where there are no traces to tell.
        work: seconds at work, of those that ended `ok` (a model) or were not skipped (an agent).
        queue: seconds in which it waited for a permit or for its turn.
        cost_usd: the sum of all known prices; None where none is known.
        unpriced: how many of its calls, or runs, have no known price.
        errors: failures by type.
    """

    name: str
    provider: str
    ok: int
    failed: int
    skipped: int
    attempts: int
    retries: int | None
    work: Spread
    queue: Spread
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    unpriced: int
    errors: Mapping[str, int]


class ShareBook:
    """The mutable side of a `Share`."""

    __slots__ = (
        "attempts",
        "cost_usd",
        "errors",
        "failed",
        "input_tokens",
        "name",
        "ok",
        "output_tokens",
        "priced",
        "provider",
        "queue",
        "retries",
        "skipped",
        "unpriced",
        "work",
    )

    def __init__(self, name: str, provider: str = "") -> None:
        self.name, self.provider = name, provider
        self.ok = self.failed = self.skipped = self.attempts = self.retries = 0
        self.input_tokens = self.output_tokens = self.priced = self.unpriced = 0
        self.cost_usd = 0.0
        self.work, self.queue = Durations(), Durations()
        self.errors: dict[str, int] = {}

    def ended(self, status: str, error_type: str | None) -> None:
        """Count how one run or attempt ended."""
        if status == "ok":
            self.ok += 1
        elif status == "skipped":
            self.skipped += 1
        elif status in ("error", "timeout"):
            self.failed += 1
            error_type = error_type or status
            self.errors[error_type] = self.errors.get(error_type, 0) + 1

    def spent(self, input_tokens: int, output_tokens: int, cost_usd: float | None) -> None:
        """Add tokens, and US dollars where the price is known."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        if cost_usd is None:
            self.unpriced += 1
        else:
            self.priced += 1
            self.cost_usd += cost_usd

    def include(self, other: ShareBook) -> None:
        """All that another one counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.work.include(other.work)
        self.queue.include(other.queue)
        for error_type, count in other.errors.items():
            self.errors[error_type] = self.errors.get(error_type, 0) + count

    def share(self, with_retries: bool = True) -> Share:
        """The figures so far."""
        return Share(
            name=self.name,
            provider=self.provider,
            ok=self.ok,
            failed=self.failed,
            skipped=self.skipped,
            attempts=self.attempts,
            retries=self.retries if with_retries else None,
            work=self.work.spread(),
            queue=self.queue.spread(),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=None if self.unpriced and not self.priced else self.cost_usd,
            unpriced=self.unpriced,
            errors=dict(self.errors),
        )


_SUMS = (
    "ok", "failed", "skipped", "attempts", "retries", "input_tokens", "output_tokens", "priced", "unpriced", "cost_usd"
)  # fmt: skip
"""What of a book is a number that adds up."""


class AgentBook:
    """All agents of a run, in the order they are first met."""

    def __init__(self) -> None:
        self.rows: dict[str, ShareBook] = {}

    def row(self, name: str) -> ShareBook:
        """The agent's own row."""
        found = self.rows.get(name)
        if found is None:
            found = self.rows[name] = ShareBook(name)
        return found

    def include(self, other: AgentBook) -> None:
        """All that another one counted."""
        for name, book in other.rows.items():
            self.row(name).include(book)

    def add(self, steps: Sequence[StepLine]) -> None:
        """Count the agents of one result line. What an agent spent does not include the agents it called as tools."""
        agents = [step for step in steps if not step.is_flow]
        inner = _spent_by_callees(agents) if any("." in step.path for step in agents) else {}
        for step in agents:
            row = self.row(step.name)
            row.ended(step.status, step.error and step.error.type)
            if step.status == "skipped":
                continue
            row.work.add(step.duration_s)
            row.queue.add(step.queued_s)
            attempts, given, made, cost = inner.get(step.path, (0, 0, 0, 0.0))
            row.attempts += step.attempts - attempts
            own_cost = None if step.cost_usd is None else max(0.0, step.cost_usd - cost)
            row.spent(step.input_tokens - given, step.output_tokens - made, own_cost)


_Spent = tuple[int, int, int, float]


def _spent_by_callees(agents: Sequence[StepLine]) -> dict[str, _Spent]:
    """Per agent that called others as tools: their attempts, tokens in and out, and cost."""
    paths = {step.path for step in agents}
    spent: dict[str, _Spent] = {}
    for step in agents:
        caller = _nearest(step.path, paths)
        if caller is not None:
            attempts, given, made, cost = spent.get(caller, (0, 0, 0, 0.0))
            spent[caller] = (
                attempts + step.attempts,
                given + step.input_tokens,
                made + step.output_tokens,
                cost + (step.cost_usd or 0.0),
            )
    return spent


def _nearest(path: str, paths: set[str]) -> str | None:
    """The agent that the step at `path` runs inside of."""
    while "." in path:
        path = path.rpartition(".")[0]
        if path in paths:
            return path
    return None
