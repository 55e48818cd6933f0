"""A result line as a program meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from agentbatch.items import Failure, Status
from agentbatch.messages import Usage
from agentbatch.results.openai_batch import with_output


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """How one item ended: its result line, without secrets, as in the results file.

    Attributes:
        id, index: of the item; `index` counts from 0 over the whole inputs.
        status: `ok`, or how it failed; `skipped` where a condition left it out.
        output: what the workflow gave; None where it failed.
        error: why it failed, None where it did not.
        trace_id: 32 hex digits, as in the trace file.
        agents: each agent's and group's own result by path, as mappings; see "Results" in the README.
        usage: tokens and requests of the whole item.
        cost_usd: US dollars; None where a price is unknown.
        started_at: RFC 3339, UTC.
        queued_s, duration_s: seconds in which nothing of it was at work, and in which something was.
        line: the whole line as it stands in the file, or would in the format `agentbatch`.
    """

    id: str | int
    index: int
    status: Status
    output: Any
    error: Failure | None
    trace_id: str
    agents: Mapping[str, Mapping[str, Any]]
    usage: Usage
    cost_usd: float | None
    started_at: str
    queued_s: float
    duration_s: float
    line: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether there is an output to go on with."""
        return self.status == "ok"


def read_record(data: bytes) -> ResultRecord:
    """The record that a result line of this program holds."""
    line: dict[str, Any] = with_output(orjson.loads(data))
    error: dict[str, Any] | None = line["error"]
    return ResultRecord(
        id=line["id"],
        index=line["index"],
        status=line["status"],
        output=line["output"],
        error=None if error is None else Failure(**error),
        trace_id=line["trace_id"],
        agents=line.get("agents", {}),
        usage=Usage(**line.get("usage", {})),
        cost_usd=line["cost_usd"],
        started_at=line["started_at"],
        queued_s=line["queued_s"],
        duration_s=line["duration_s"],
        line=line,
    )
