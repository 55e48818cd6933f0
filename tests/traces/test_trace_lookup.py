from pathlib import Path

import pytest
from recorded_run import Recorder, item_result, write_traces

from agentbatch.errors import InputError
from agentbatch.traces.entries import entry_of_result
from agentbatch.traces.lookup import TraceLookup, entry_document, found_document


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "r.results.jsonl"
    path.write_bytes(item_result("a") + item_result("b", 1, "error", trace_id="b" * 32))
    return path


def traces_of(results: Path) -> Path:
    return results.with_name("r.results.traces.jsonl")


def test_by_item_and_by_trace_id(results: Path) -> None:
    trees = [Recorder().trace("a"), Recorder(1).trace(17)]
    write_traces(traces_of(results), trees)
    trace_id = trees[1][-1].trace_id
    with TraceLookup(results) as lookup:
        for wanted in ("17", trace_id, trace_id[:6]):
            found = lookup.find(wanted)
            assert found.entry is not None
            assert (found.entry.item_id, len(found.spans), found.result) == ("17", 3, None)


def test_a_trace_file_will_do(results: Path) -> None:
    write_traces(traces_of(results), [Recorder().trace("a")])
    results.unlink()
    with TraceLookup(traces_of(results)) as lookup:
        assert lookup.find("a").spans
        with pytest.raises(InputError, match="these traces: has no item, trace or request 'b'"):
            lookup.find("b")


def test_traces_that_stand_elsewhere(results: Path, tmp_path: Path) -> None:
    write_traces(tmp_path / "x.jsonl", [Recorder().trace("a")])
    with TraceLookup(results, tmp_path / "x.jsonl") as lookup:
        assert lookup.find("a").spans


def test_the_last_stay_that_ended_counts(results: Path) -> None:
    recorder = Recorder()
    stays = [recorder.trace("a", "error"), recorder.trace("a"), recorder.trace("a", stopped=True)]
    write_traces(traces_of(results), stays)
    with TraceLookup(results) as lookup:
        found = lookup.find("a")
        assert found.entry is not None
        assert found.entry.trace_id == stays[1][-1].trace_id
        assert [other.status for other in found.others] == ["error", "stopped"]


def test_an_ambiguous_beginning(results: Path) -> None:
    recorder = Recorder()
    trees = [recorder.trace("x"), recorder.trace("y")]
    for tree, digits in zip(trees, ("abcd1" + "0" * 27, "abcd2" + "0" * 27), strict=True):
        for span in tree:
            span.trace_id = digits
    write_traces(traces_of(results), trees)
    with TraceLookup(results) as lookup:
        with pytest.raises(InputError, match=r"2 trace ids begin so: abcd10+, abcd20+; give more digits"):
            lookup.find("abcd")
        found = lookup.find("abcd2")
        assert found.entry is not None
        assert found.entry.item_id == "y"


def test_without_traces_the_result_line_says_what_it_has(results: Path) -> None:
    with TraceLookup(results) as lookup:
        assert not lookup.has_traces
        found = lookup.find("b")
        assert found.result is not None
        assert found.result["status"] == "error"
        assert lookup.find("b" * 32).result == found.result
        assert [entry.item_id for entry in lookup.index.failed()] == ["b"]
        with pytest.raises(InputError, match="no request has the id"):
            lookup.with_request("x")
    assert sorted(path.name for path in results.parent.iterdir()) == ["r.results.jsonl"]


def test_an_item_whose_trace_was_dropped(results: Path) -> None:
    write_traces(traces_of(results), [Recorder().trace("a")])
    with results.open("ab") as file:
        file.write(item_result("b", 1))
    with TraceLookup(results) as lookup:
        found = lookup.find("b")
        assert found.entry is None
        assert found.result is not None
        assert found.result["status"] == "ok", "the last line counts"
        assert lookup.find("b" * 32).result is not None


@pytest.mark.parametrize("wanted", ["nope", "f" * 32, "", "\x1b[2J"])
def test_what_is_not_there(results: Path, wanted: str) -> None:
    write_traces(traces_of(results), [Recorder().trace("a")])
    with TraceLookup(results) as lookup, pytest.raises(InputError, match="has no item, trace or request") as raised:
        lookup.find(wanted)
    assert "\x1b" not in str(raised.value)


def test_requests(results: Path) -> None:
    write_traces(traces_of(results), [Recorder().trace("a", request_id='req-"1"')])
    with TraceLookup(results) as lookup:
        assert [entry.item_id for entry in lookup.with_request('req-"1"')] == ["a"]
        with pytest.raises(InputError, match="no request has the id 'req-2'"):
            lookup.with_request("req-2")


def test_a_request_id_will_do_for_an_id(results: Path) -> None:
    recorder = Recorder()
    write_traces(traces_of(results), [recorder.trace("a", request_id="req-1"), recorder.trace("b", request_id="b")])
    with TraceLookup(results) as lookup:
        found = lookup.find("req-1")
        assert found.entry is not None
        assert (found.entry.item_id, len(found.spans)) == ("a", 3)
        with pytest.raises(InputError, match="or request 'mock-1'"):
            lookup.find("mock-1")  # the model's name is in every trace, and is no request's id


def test_requests_are_found_in_results_where_there_are_no_traces(results: Path) -> None:
    asked = item_result("b", 1).replace(b'"attempts":1', b'"request_ids":["req-1","req-2"],"attempts":1')
    assert b"req-2" in asked
    results.write_bytes(item_result("a", 0) + asked + item_result("req-3", 2))
    with TraceLookup(results) as lookup:
        assert [entry.item_id for entry in lookup.with_request("req-2")] == ["b"]
        with pytest.raises(InputError, match="no request has the id 'req-3'"):
            lookup.with_request("req-3")


def test_documents(results: Path) -> None:
    tree = Recorder().trace("a", "error", request_id="req-1")
    write_traces(traces_of(results), [tree])
    with TraceLookup(results) as lookup:
        document = found_document(lookup.find("a"))
    spans = document.pop("spans")
    assert document == {
        "trace_id": tree[-1].trace_id,
        "item_id": "a",
        "status": "error",
        "started_at": "2026-11-21T09:16:36.000000Z",
        "duration_s": 1.0,
        "queued_s": 0.25,
        "cost_usd": 0.002,
        "error": {"type": "server", "message": "it broke", "agent": "writer"},
    }
    assert [span["kind"] for span in spans] == ["item", "agent", "chat"]
    assert spans[2]["attributes"]["request_id"] == "req-1"
    assert {span["parent_id"] for span in spans} == {None, spans[0]["span_id"], spans[1]["span_id"]}


def test_a_result_line_that_does_not_say_when_it_began() -> None:
    entry = entry_of_result(b'{"id": 1, "status": "ok"}', 0)
    assert entry is not None
    assert entry_document(entry)["started_at"] is None
