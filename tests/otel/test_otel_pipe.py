"""The run's end of the pipe, with senders that do as they are told."""

import os
import sys
import time

import pytest

from agentbatch.otel.pipe import OtelPipe

TAKES_ALL = """
import sys
spans = 0
for line in sys.stdin.buffer:
    spans += 2
    sys.stdout.write('{"accepted": %d, "refused": 0, "why": ""}\\n' % spans)
"""
REFUSES = """
import sys
sys.stdin.read()
sys.stdout.write('{"accepted": 0, "refused": 6, "why": "Connection refused"}\\n')
"""
ENDS = "raise SystemExit(3)"
HANGS = "import time; time.sleep(100)"


def pipe(script: str, most_waiting: int = 1_000_000) -> OtelPipe:
    return OtelPipe(os.environ, (sys.executable, "-c", script), most_waiting)


def test_all_lines_get_through() -> None:
    sender = pipe(TAKES_ALL)
    for _ in range(1000):
        sender.put(b"x" * 100 + b"\n", 2)
    sender.close()
    assert (sender.dropped, sender.error) == (0, None)


def test_what_the_collector_refuses_is_dropped_and_told_why() -> None:
    sender = pipe(REFUSES)
    for _ in range(3):
        sender.put(b"x\n", 2)
    sender.close()
    assert (sender.dropped, sender.error) == (6, "Connection refused")


def test_a_sender_that_breaks_off_costs_its_spans_and_nothing_else() -> None:
    sender = pipe(ENDS)
    for _ in range(10_000):
        sender.put(b"x" * 100 + b"\n", 2)
    sender.close()
    assert (sender.dropped, sender.error) == (20_000, "the sender ended with exit code 3")


def test_a_sender_that_hangs_is_ended_and_what_waits_for_it_is_bounded() -> None:
    sender = pipe(HANGS, most_waiting=500_000)
    began = time.perf_counter()
    for _ in range(10_000):
        sender.put(b"x" * 1000 + b"\n", 1)
    assert sender._lines.qsize() <= 501
    sender.close(timeout=0.2)
    assert sender.dropped == 10_000
    assert sender.error == "the collector did not answer in time"
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("script", [TAKES_ALL, REFUSES, ENDS])
def test_nothing_was_sent_and_nothing_is_missed(script: str) -> None:
    sender = pipe(script)
    sender.close()
    assert sender.dropped == 0
