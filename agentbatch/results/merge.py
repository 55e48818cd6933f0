"""Several results files of the same inputs as one: the last line of every item counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from agentbatch.errors import InputError, OutputError, UsageError
from agentbatch.files.durable import replacing
from agentbatch.files.lock import OutputLock
from agentbatch.record import record
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import RunHeader, compare_headers, read_header, write_header
from agentbatch.results.lines import CountedLines, parse_result
from agentbatch.text.redact import visible

_FORCE = "--force merges them all the same"


@record
class Merged:
    """What a merge came to.

    Attributes:
        items: lines written.
        replaced: lines that a later file's line of the same item took the place of.
        continuable: whether a run can go on with the merged file, as all sources are of that run.
        notes: what else a person should know.
    """

    items: int
    replaced: int
    continuable: bool
    notes: tuple[str, ...]


def merge(sources: Sequence[Path], output: Path, *, force: bool = False) -> Merged:
    """Write the lines of all sources to `output`: of an item that several have, the last one's.

    Raises:
        InputError: a source can't be read, or they are of different inputs and `force` does not say to go on.
        OutputError: it can't be written.
        UsageError: it is there already.
    """
    headers = [read_header(ResultFiles(source).header) for source in sources]
    notes = [] if force else _refuse_other_inputs(sources, headers)
    notes += _changes(sources, headers)
    with ExitStack() as opened:
        files = [opened.enter_context(CountedLines(source)) for source in sources]
        if not force:
            _refuse_other_items(files)
        opened.enter_context(OutputLock(output))
        if output.exists():
            raise UsageError(f"{output}: is there already; name another -o FILE, or delete it")
        items = _write(output, files)
        first = headers[0]
        if first is not None and not notes and not force:
            write_header(ResultFiles(output).header, first)
    replaced = sum(len(file) for file in files) - items
    return Merged(items, replaced, first is not None and not notes and not force, tuple(notes))


def _write(output: Path, files: Sequence[CountedLines]) -> int:
    """How many lines were written."""
    items = 0
    try:
        with replacing(output) as target:
            for line in _lines(files):
                target.write(line)
                items += 1
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error
    return items


def _lines(files: Sequence[CountedLines]) -> Iterator[bytes]:
    for at, file in enumerate(files):
        later = files[at + 1 :]
        for key, line in file.keyed():
            if not any(key in each for each in later):
                yield line


def _refuse_other_inputs(sources: Sequence[Path], headers: Sequence[RunHeader | None]) -> list[str]:
    """See that all were made from the same inputs, as far as their headers say."""
    notes: list[str] = []
    known = [
        (source, header.inputs) for source, header in zip(sources, headers, strict=True) if header and header.inputs
    ]
    for source, digest in known[1:]:
        if digest != known[0][1]:
            raise InputError(f"{source}: was made from other inputs than {known[0][0]}; {_FORCE}")
    for source, header in zip(sources, headers, strict=True):
        if header is None:
            notes.append(f"{source}: has no run header; that its inputs are the same was judged by ids alone")
    return notes


def _changes(sources: Sequence[Path], headers: Sequence[RunHeader | None]) -> list[str]:
    """What differs in how they were made. That is no reason to refuse: people merge what they mended."""
    first = headers[0]
    notes: list[str] = []
    for source, header in zip(sources[1:], headers[1:], strict=True):
        if first is not None and header is not None and (changes := compare_headers(first, header)):
            notes.append(f"{source}: was made with another config than {sources[0]}: {'; '.join(changes)}")
    return notes


def _refuse_other_items(files: Sequence[CountedLines]) -> None:
    """See that no two files have different items at the same place of the inputs."""
    keys: dict[int, int] = {}
    for file in files:
        for key, line in file.keyed():
            fields = parse_result(line) or {}
            index = fields.get("index")
            if isinstance(index, int) and keys.setdefault(index, key) != key:
                name = visible(repr(fields["id"]), 60)
                raise InputError(
                    f"{file.path}: item {index} is {name} here, and another one in the files before: these are results "
                    f"of different inputs; {_FORCE}"
                )
