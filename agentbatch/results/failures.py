"""The items that failed, as a list of ids or as inputs to run again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agentbatch.errors import InputError
from agentbatch.files.plain_json import dump_line
from agentbatch.inputs import BadLine
from agentbatch.inputs.formats import InputFormat, open_inputs_as
from agentbatch.items import Item
from agentbatch.text.figures import counted


def failed_lines(lines: Iterable[Mapping[str, Any]], types: Collection[str] = ()) -> Iterator[Mapping[str, Any]]:
    """The result lines of failed items; only those whose error is of one of these types, if any are given."""
    for line in lines:
        error: Mapping[str, Any] = line.get("error") or {}
        if line.get("status") not in ("ok", "skipped") and (not types or error.get("type") in types):
            yield line


def id_line(item_id: str | int) -> str:
    """An id on a line of its own: as JSON where it would not be one line of plain text, or would look like JSON."""
    text = str(item_id)
    if text.isprintable() and text and not text.startswith('"') and text == text.strip():
        return f"{text}\n"
    return dump_line({"": text})[4:-2].decode() + "\n"


@dataclass(slots=True)
class Chosen:
    """Input lines of some items, as they are chosen.

    Attributes:
        found: items written so far.
        unusable: the places of input lines that are no items, and can't be run again as they are.
        unnamed: items that are no objects, so that the new file's line numbers become their ids.
    """

    found: int = 0
    unusable: list[str] = field(default_factory=list[str])
    unnamed: int = 0

    def lines(self, inputs: Path, ids: Mapping[int, str | int], input_format: InputFormat = "auto") -> Iterator[bytes]:
        """The inputs of the items with these ids by index, in input order, as lines of JSON that name their item.

        Raises:
            InputError: the inputs can't be read, or have another id at such an index.
        """
        for entry in open_inputs_as(input_format, inputs).read():
            wanted = ids.get(entry.index)
            if wanted is None:
                continue
            if isinstance(entry, BadLine):
                self.unusable.append(f"{inputs}:{entry.line}")
                continue
            if str(entry.id) != str(wanted):
                raise InputError(
                    f"{inputs}: is not what these results were made from: item {entry.index} has the id {entry.id!r}, "
                    f"and in the results {wanted!r}"
                )
            self.found += 1
            yield self._line(entry)

    def notes(self) -> Iterator[str]:
        """What a person should know of the lines written."""
        if self.unusable:
            first, count = self.unusable[0], len(self.unusable)
            yield f"{count:,} failed because their input is no item, and are left out: mend them first, as {first}"
        if self.unnamed:
            yield f"no objects, so without an id: {counted(self.unnamed, 'item')}; the new file's lines will name them"

    def _line(self, item: Item) -> bytes:
        """The item with its id in it: in another file its line number is another one."""
        value: object = item.fields
        if isinstance(value, dict):
            return dump_line({"id": item.id, **cast("dict[str, Any]", value)})
        self.unnamed += 1
        return dump_line({"": value})[4:-2] + b"\n"
