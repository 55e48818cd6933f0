"""Results and traces of runs that never were, written by hand."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from agentbatch.results import format_time
from agentbatch.trace import Span
from agentbatch.traces.otlp import encode_trace

BEGIN_NS = 1_795_000_000 * 10**9
"""When all of them began, in Unix nanoseconds."""


def trace_id(number: int) -> str:
    return f"{number:032x}"


def result(item_id: Any, **fields: Any) -> dict[str, Any]:
    """A result line's fields: of an item that succeeded, unless told otherwise."""
    line: dict[str, Any] = {
        "id": item_id,
        "index": 0,
        "status": "ok",
        "output": f"the output of {item_id}",
        "error": None,
        "trace_id": trace_id(int(item_id)) if str(item_id).isdigit() else "",
        "agents": {},
        "usage": {"input_tokens": 10, "output_tokens": 5, "requests": 1},
        "cost_usd": 0.01,
        "started_at": format_time(BEGIN_NS),
        "queued_s": 0.0,
        "duration_s": 1.0,
    }
    return line | fields


def failed(item_id: Any, error_type: str = "server", message: str = "boom", **fields: Any) -> dict[str, Any]:
    error = {"type": error_type, "message": message, "agent": "writer", "http_status": 500, "attempts": 3}
    return result(item_id, **({"status": "error", "output": None, "error": error} | fields))


def step(**fields: Any) -> dict[str, Any]:
    """One agent in a result line."""
    usage = {"input_tokens": 10, "output_tokens": 5, "requests": 1}
    known: dict[str, Any] = {"status": "ok", "output": "said", "error": None, "attempts": 1, "queued_s": 0.0}
    return known | {"duration_s": 1.0, "usage": usage, "cost_usd": 0.01} | fields


def write_results(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    """A results file; bytes stand in it as they are."""
    path.write_bytes(b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines))
    return path


def span(kind: Any, name: str, number: int, parent: int | None, start_s: float, end_s: float, **facts: Any) -> Span:
    """A span of the trace that is being made; times are seconds from `BEGIN_NS`."""
    own = {name: facts.pop(name) for name in ("status", "error_type", "error_message", "events") if name in facts}
    return Span(
        name=name,
        kind=kind,
        trace_id="",
        span_id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        start_ns=BEGIN_NS + round(start_s * 1e9),
        end_ns=BEGIN_NS + round(end_s * 1e9),
        tree=[],
        attributes=facts,
        **own,
    )


def trace(number: int, *spans: Span, content: bool = False) -> bytes:
    """The line of an item's trace. The root comes last, as in a trace file."""
    for one in spans:
        one.trace_id = trace_id(number)
    return encode_trace(spans, content=content)


def simple_trace(number: int, start_s: float = 0.0, end_s: float = 1.0, **facts: Any) -> bytes:
    """An item, its agent `writer`, and one call of the model `small`."""
    call = {"model": "small", "provider": "openai", "attempt": 1, "queued_s": 0.0, "cost_usd": 0.01}
    call |= {"input_tokens": 10, "output_tokens": 5}
    return trace(
        number,
        span("chat", "small", 3, 2, start_s, end_s, **(call | facts)),
        span("agent", "writer", 2, 1, start_s, end_s, path="writer"),
        span("item", "item", 1, None, start_s, end_s, **{"item.id": str(number)}),
    )


def unpacked(page: bytes, name: str) -> Any:
    """The data that stands in a page under a name."""
    found = re.search(rb'<script type="application/gzip" id="%s">([^<]*)</script>' % name.encode(), page)
    assert found, name
    return json.loads(gzip.decompress(b64decode(found[1])))
