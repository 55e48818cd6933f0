from dataclasses import replace
from pathlib import Path
from typing import Any

from run_files import BEGIN_NS, simple_trace, span, trace, trace_id

from agentbatch.report.blocks import Packer
from agentbatch.report.breakdown import Share
from agentbatch.report.rows import trace_key
from agentbatch.report.trace_book import TraceTerms
from agentbatch.report.trace_parts import Traces, read_parts

ITEMS = 700


def written(folder: Path) -> Path:
    """Traces of items that overlap, some of them refused once, one stopped; and a torn line."""
    lines = [b'{"resourceSpans": [torn\n']
    for number in range(1, ITEMS + 1):
        if number % 50:
            lines.append(simple_trace(number, number / 100, number / 100 + 2, attempt=1 + number % 2))
            continue
        refused = {"status": "error", "error_type": "rate_limited", "error_message": f"refused {number}"}
        lines.append(
            trace(
                number,
                span("chat", "small", 3, 2, number / 100, number / 100 + 1, provider="p", attempt=1, **refused),
                span("agent", f"agent {number}", 2, 1, number / 100, number / 100 + 1),
                span("item", "item", 1, None, number / 100, number / 100 + 1, **{"item.id": str(number)}),
            )
        )
    path = folder / "t.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def told(path: Path, processes: int, *, wanted: int = ITEMS) -> tuple[Any, ...]:
    """All that the traces say, read by so many processes."""
    keys = frozenset(trace_key(trace_id(number)) for number in range(1, wanted + 1))
    terms = TraceTerms(keys, chars=5000, with_agents=True, origin=BEGIN_NS)
    with Packer() as packer:
        traces = Traces(BEGIN_NS, packer)
        parts = read_parts(path, terms, processes, least=1)
        assert len(parts) == processes
        traces.include(parts)
        timelines = len(traces.timelines.finish())
    sums = traces.sums
    return (
        (sums.trees, sums.ended, sums.bad, sums.possibly_billed, sums.stopped),
        sums.activity.course(),
        {name: cents(row.share()) for name, row in sums.agents.rows.items()},
        {name: cents(row.share()) for name, row in sums.models.items()},
        sums.refusals(),
        (set(traces.places), sorted(traces.places.values()), timelines),
    )


def cents(share: Share) -> Share:
    """Sums of floats differ in their last digits with the order in which they are added."""
    return replace(share, cost_usd=None if share.cost_usd is None else round(share.cost_usd, 6))


def test_a_file_in_parts_says_the_same_as_in_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole, parts = told(path, 1), told(path, 3)
    assert whole[0][:3] == (ITEMS, ITEMS, 1)
    assert parts == whole


def test_timelines_stand_where_their_places_say(tmp_path: Path) -> None:
    path = written(tmp_path)
    *_, (keys, places, blocks) = told(path, 3, wanted=300)
    assert len(keys) == 300
    assert places == list(range(300))
    assert blocks == 3


def test_without_a_common_beginning_of_time_there_are_no_parts(tmp_path: Path) -> None:
    terms = TraceTerms(frozenset[bytes](), chars=5000, with_agents=False, origin=None)
    assert len(read_parts(written(tmp_path), terms, 3, least=1)) == 1
