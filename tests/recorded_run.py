"""Files as a run leaves them, made in a moment: traces and results of as many items as a test needs."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from agentbatch.items import Failure, Item, ItemResult, Result, Status
from agentbatch.messages import Usage
from agentbatch.results import encode_result
from agentbatch.trace import Span
from agentbatch.traces.otlp import encode_trace

BEGAN_NS = 1_795_252_596_000_000_000
"""2026-11-21, Unix nanoseconds."""
SECOND = 1_000_000_000


class Recorder:
    """Makes the spans and the result of items: an agent, and one attempt, or two where the first failed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def trace(
        self,
        item_id: str | int,
        status: Status = "ok",
        *,
        seconds: float = 1.0,
        queued: float = 0.25,
        error: tuple[str, str] = ("server", "it broke"),
        request_id: str = "",
        retried: bool = False,
        stopped: bool = False,
        began_ns: int = BEGAN_NS,
    ) -> list[Span]:
        """Children before parents, the root last."""
        trace_id = f"{self._random.getrandbits(128):032x}"
        tree: list[Span] = []
        end = began_ns + int((queued + seconds) * SECOND)
        money = {"queued_s": queued, "cost_usd": 0.002}
        root = self._span("item", "item", trace_id, None, began_ns, end, tree)
        root.attributes = {"item.id": item_id, "item.index": 0, **money}
        agent = self._span("writer", "agent", trace_id, root.span_id, began_ns, end, tree)
        agent.attributes = {"path": "writer", "kind": "chat", **money}
        sent = began_ns + int(queued * SECOND)
        if retried:
            middle = sent + (end - sent) // 4
            first = self._span("mock-1", "chat", trace_id, agent.span_id, sent, middle, tree)
            first.attributes = {"model": "mock-1", "attempt": 1, "queued_s": queued, "http_status": 429}
            first.status, first.error_type, first.error_message = "error", "rate_limited", "slow down"
            tree.append(first)
            sent = sent + (end - sent) // 2
        chat = self._span("mock-1", "chat", trace_id, agent.span_id, sent, end, tree)
        chat.attributes = {"model": "mock-1", "attempt": 1 + retried, "queued_s": 0.0, "cost_usd": 0.002}
        chat.attributes |= {"input_tokens": 12, "output_tokens": 34, "finish_reason": "stop"}
        if request_id:
            chat.attributes["request_id"] = request_id
        for span in (chat, agent, root):
            span.status = "stopped" if stopped else status
            if status not in ("ok", "skipped") and not stopped:
                span.error_type, span.error_message = error
        tree += [chat, agent, root]
        return tree

    def _span(
        self, name: str, kind: str, trace_id: str, parent: str | None, start: int, end: int, tree: list[Span]
    ) -> Span:
        span = Span(name, kind, trace_id, f"{self._random.getrandbits(64):016x}", parent, start, tree)  # pyright: ignore[reportArgumentType]
        span.end_ns = end
        return span


def write_traces(path: Path, trees: Iterable[list[Span]], *, append: bool = False) -> None:
    """A line for each."""
    with path.open("ab" if append else "wb") as file:
        for tree in trees:
            file.write(encode_trace(tree, content=True))


def item_result(
    item_id: str | int,
    index: int = 0,
    status: Status = "ok",
    *,
    output: object = "text",
    seconds: float = 1.0,
    cost: float | None = 0.002,
    error: tuple[str, str] = ("server", "it broke"),
    trace_id: str = "0" * 32,
) -> bytes:
    """One result line, with one agent in it."""
    usage = Usage(12, 34, 1)
    failure = None if status in ("ok", "skipped") else Failure(*error, agent="writer", attempts=1)
    value = output if failure is None else None
    writer = Result(status, value, failure, usage, cost, 1, 0.25, seconds, kind="chat", name="writer")
    whole = Result(status, value, failure, usage, cost, 1, 0.25, seconds, {"writer": writer}, "item")
    return encode_result(ItemResult(Item(item_id, index, {}), trace_id, BEGAN_NS, whole))
