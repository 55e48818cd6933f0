"""The process that sends a run's spans: trace lines come in on stdin, batches go to the collector over OTLP/HTTP.

A process of its own, for what it does (turning every span into protobuf, waiting for a collector, trying again) must
not take time from the run. It says on stdout what has become of the spans: one JSON object per batch, with the sums so
far: `{"accepted": 512, "refused": 0, "why": ""}`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, Queue
from typing import BinaryIO, Final

import orjson

from agentbatch.otel.meters import Meters
from agentbatch.otel.sdk import Sdk, load_sdk
from agentbatch.otel.spans import SpanMaker, attributes_of, spans_in
from agentbatch.record import record

BATCH: Final = 512
"""Spans a request, as the SDK's own processor sends them (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)."""

_DELAY_S: Final = 1.0
"""A smaller batch goes out so long after its first span."""

_LINES_AHEAD: Final = 2_000

_PATIENCE_S: Final = {"never asked": 3.0, "accepting": 10.0, "failing": 0.0}
"""Once the run has ended: how long nothing may get through, by how the collector has done so far."""

_LAST_S: Final = 0.5
"""After that, for whatever is on the wire."""

_METRICS_S: Final = 2.0


@record
class Sums:
    """Spans that the collector has taken, and those it has not; `why`, in its own words or the library's."""

    accepted: int = 0
    refused: int = 0
    why: str = ""


class Sender:
    """Sends spans in batches.

    Args:
        meters: None where no metrics are wanted.
        report: is told the sums after each batch.
    """

    def __init__(
        self, sdk: Sdk, meters: Meters | None, report: Callable[[Sums], None], endpoint: str | None = None
    ) -> None:
        self.sums = Sums()
        self._sdk = sdk
        self._meters = meters
        self._report = report
        self._maker = SpanMaker(sdk)
        self._exporter = sdk.OTLPSpanExporter(endpoint=endpoint)
        self._batch: list[object] = []
        self._words = LastWords()
        logging.getLogger("opentelemetry").addHandler(self._words)
        logging.getLogger("opentelemetry").propagate = False

    @property
    def state(self) -> str:
        """How the collector does: a key of `_PATIENCE_S`."""
        if self._words.text:
            return "failing"
        return "accepting" if self.sums.accepted else "never asked"

    def add(self, line: bytes) -> None:
        """Add the spans of one trace line, and send those that make a batch."""
        for fields in spans_in(line):
            attributes = attributes_of(fields["attributes"])
            self._batch.append(self._maker.span(fields, attributes))
            if self._meters is not None:
                seconds = (int(fields["endTimeUnixNano"]) - int(fields["startTimeUnixNano"])) / 1e9
                self._meters.count(attributes, seconds, not fields.get("parentSpanId"))
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        sums = self.sums
        if self._exporter.export(batch) is self._sdk.SpanExportResult.SUCCESS:
            self.sums = Sums(sums.accepted + len(batch), sums.refused, sums.why)
            self._words.text = ""
        else:
            self.sums = Sums(sums.accepted, sums.refused + len(batch), self._words.text or sums.why)
        self._report(self.sums)

    def give_up(self) -> None:
        """Say how it stands, and end the process: a request that hangs can't be cut short."""
        sums = self.sums
        self._report(Sums(sums.accepted, sums.refused, sums.why or self._words.text or "the collector does not answer"))
        os._exit(0)

    def hurry(self) -> None:
        """Wait for no collector any more; from another thread."""
        self._exporter.shutdown()


_CAUSE: Final = re.compile(r"(?<=\] )(Connection refused|[A-Z][a-z]+( \w+)+)(?=[\"')])")
"""Of what the operating system says, wrapped in four layers of libraries, the words."""


class LastWords(logging.Handler):
    """Keeps the latest that the exporter complained of: it says why only in its log."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if "hutdown" not in record.getMessage():  # that is our own doing
            text = " ".join(record.getMessage().split())
            cause = _CAUSE.search(text)
            self.text = cause[0] if cause else text[:300]


def send_all(sender: Sender, lines: Iterable[bytes]) -> Sums:
    """Send lines that are there already, until the collector refuses a batch."""
    for line in lines:
        sender.add(line)
        if sender.sums.refused:
            return sender.sums
    sender.flush()
    return sender.sums


def send_as_they_come(sender: Sender, stream: BinaryIO) -> None:
    """Send lines until the stream ends; then, within the patience that the collector has earned, what is left."""
    lines: Queue[bytes | None] = Queue(_LINES_AHEAD)
    threading.Thread(target=_read, args=(stream, lines, sender), daemon=True).start()
    due: float | None = None
    while True:
        try:
            line = lines.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
        except Empty:
            sender.flush()
            due = None
            continue
        if line is None:
            break
        sender.add(line)
        due = due or time.monotonic() + _DELAY_S
    sender.flush()


def _read(stream: BinaryIO, lines: Queue[bytes | None], sender: Sender) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
    moved, accepted = time.monotonic(), 0
    while time.monotonic() < moved + _PATIENCE_S[sender.state]:
        time.sleep(0.02)
        if sender.sums.accepted > accepted:
            moved, accepted = time.monotonic(), sender.sums.accepted
    sender.hurry()
    time.sleep(_LAST_S)
    sender.give_up()


def _say(sums: Sums) -> None:
    told = {"accepted": sums.accepted, "refused": sums.refused, "why": sums.why}
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


def _wanted(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() != "none"


def main() -> None:
    """Send what comes on stdin."""
    if hasattr(os, "nice"):
        os.nice(19)  # where cores are few, the run comes first; spans wait, up to what the pipe holds
    sdk = load_sdk()
    meters = Meters(sdk) if _wanted("OTEL_METRICS_EXPORTER") else None
    sender = Sender(sdk, meters, _say)
    send_as_they_come(sender, sys.stdin.buffer)
    if meters is not None and sender.state != "failing":
        meters.close(_METRICS_S)
    sys.stdout.flush()
    os._exit(0)  # a metric reader's thread may still wait for a collector that does not answer


if __name__ == "__main__":
    main()
