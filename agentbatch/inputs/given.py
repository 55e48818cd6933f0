"""Inputs that a program hands over as Python values: each becomes what it would be as a line of JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agentbatch.files.plain_json import dump_line
from agentbatch.inputs.file_bytes import MAX_LINE_BYTES
from agentbatch.inputs.json_lines import NotJson, parse_line
from agentbatch.inputs.reader import Inputs
from agentbatch.inputs.records import Record
from agentbatch.inputs.spool import Spool

_NAME = "inputs"
"""What messages call them, with the number of the record, from 1, as that of a line."""


def given_inputs(values: Iterable[Any], *, tee: Path | None = None) -> Inputs:
    """The inputs that `values` are.

    A sequence is hashed and counted here, so that a run over the same values can be continued. Anything else is read
    once, while the run goes, as a pipe is.

    Args:
        values: what lines of JSON hold: mappings, whose `id` names the item, or texts. Other Python values become the
            nearest thing that JSON has.
        tee: where a copy of what can't be read twice is kept, and compared when a run is continued.
    """
    if isinstance(values, Sequence):
        digest = hashlib.blake2b(digest_size=32)
        for value in values:
            digest.update(dump_line(value))
        return Inputs(_NAME, digest.hexdigest(), len(values), lambda: _records(map(dump_line, values)))
    return Inputs(_NAME, None, None, lambda: _records(_copied(map(dump_line, values), tee)))


def _records(lines: Iterable[bytes]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            yield Record(number, None, f"too large: more than {MAX_LINE_BYTES:,} bytes as JSON")
            continue
        try:
            yield Record(number, parse_line(line))
        except NotJson as error:
            yield Record(number, None, f"not JSON: {error}")


def _copied(lines: Iterable[bytes], tee: Path | None) -> Iterator[bytes]:
    if tee is None:
        yield from lines
        return
    spool = Spool(tee)
    try:
        for line in lines:
            spool.take(line)
            yield line
        spool.finish()
    finally:
        spool.close()
