"""How files come home through a job's log: as lines of text, in blocks, each packed, from where the other end stops.

    agentbatch> block results 1048576 eJyr...      (zlib, base64)
    agentbatch> end {"sizes": {"results": 2097152}, "different": [], "more": false}

Results and traces only grow, so that what came before need not come again: the asker says how much it has of each and
what its digest is. Of both only whole lines are sent; of the others the whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentbatch.errors import InputError
from agentbatch.files.durable import last_newline
from agentbatch.record import record

GROWING = ("results", "traces")
"""Files that are only ever added to."""

MARK = "agentbatch> "
MOST_PACKED = 16 * 1024**2
"""Packed bytes that one job brings: the log is read as a whole."""

_BLOCK = 1024**2


@record
class Have:
    """What the asker has of a file: so many bytes, and their SHA-256 in hexadecimal."""

    size: int
    digest: str


Parts = Mapping[str, Have]
"""The files that are asked for, by their role."""


@record
class Block:
    """A piece of a file, and where it belongs."""

    role: str
    start: int
    data: bytes


@record
class Brought:
    """What a job's log held.

    Attributes:
        sizes: how large each file is by now, at its last whole line.
        different: files of which the asker has something that is no beginning of them.
        more: whether there is more to ask for.
    """

    blocks: list[Block]
    sizes: Mapping[str, int]
    different: list[str]
    more: bool


def have(path: Path) -> Have:
    """What is there of a file."""
    return Have(path.stat().st_size, digest_of(path, None)) if path.is_file() else Have(0, "")


def digest_of(path: Path, size: int | None) -> str:
    """Of its first `size` bytes, None for all; empty for none."""
    left = path.stat().st_size if size is None else size
    if not left:
        return ""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, _BLOCK))):
            found.update(piece)
            left -= len(piece)
    return found.hexdigest()


def asked(parts: Parts) -> list[str]:
    """The words in which they are asked for."""
    return [f"{role}={have.size}:{have.digest}" for role, have in parts.items()]


def parts_of(words: list[str]) -> Parts:
    """What `asked` asked.

    Raises:
        InputError: it is something else.
    """
    try:
        found: dict[str, Have] = {}
        for word in words:
            role, _, rest = word.partition("=")
            size, _, digest = rest.partition(":")
            found[role] = Have(int(size), digest)
    except ValueError:
        raise InputError(f"expected ROLE=SIZE:DIGEST, not {words}") from None
    return found


def say_parts(files: Mapping[str, Path], parts: Parts, most: int = MOST_PACKED) -> Iterator[str]:
    """The lines that hold what is new of the files that are asked for; about `most` packed bytes."""
    sizes: dict[str, int] = {}
    different: list[str] = []
    left = most
    more = False
    for role, there in parts.items():
        path = files.get(role)
        if path is None or not path.is_file():
            continue
        sizes[role] = _whole(role, path)
        if role in GROWING and digest_of(path, min(there.size, sizes[role])) != there.digest:
            different.append(role)
            continue
        for block in _blocks(role, path, there.size if role in GROWING else 0, sizes[role]):
            if left <= 0:
                more = True
                break
            packed = zlib.compress(block.data, 6)
            left -= len(packed)
            yield f"{MARK}block {role} {block.start} {base64.b64encode(packed).decode()}"
    yield f"{MARK}end {json.dumps({'sizes': sizes, 'different': different, 'more': more})}"


def read_parts(log: str) -> Brought | None:
    """What a job's log holds; None where it does not hold the end, or a line of it is cut."""
    try:
        return _read(log)
    except (ValueError, zlib.error):  # of a cut line; a wrong base64 or JSON is a ValueError, too
        return None


def _read(log: str) -> Brought | None:
    blocks: list[Block] = []
    for line in log.split("\n"):
        if not line.startswith(MARK):
            continue
        word, _, rest = line[len(MARK) :].partition(" ")
        if word == "end":
            told = json.loads(rest)
            return Brought(blocks, told["sizes"], told["different"], told["more"])
        role, start, data = rest.split(" ")
        blocks.append(Block(role, int(start), zlib.decompress(base64.b64decode(data))))
    return None


def _whole(role: str, path: Path) -> int:
    """How much of it is to be sent: of a file that grows, its whole lines."""
    with path.open("rb") as file:
        size = path.stat().st_size
        return last_newline(file.fileno(), size) if role in GROWING else size


def _blocks(role: str, path: Path, start: int, end: int) -> Iterator[Block]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (data := file.read(min(_BLOCK, end - start))):
            yield Block(role, start, data)
            start += len(data)
