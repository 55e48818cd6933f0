"""Data for the page in blocks that a browser unpacks one by one: JSON, gzip, base64."""

from __future__ import annotations

import gzip
from base64 import b64encode
from typing import Any

import orjson

from agentbatch.plain_json import to_plain


def pack(value: Any) -> bytes:
    """One block: base64 has no character that means anything in HTML, so no data can leave its element."""
    try:
        plain = orjson.dumps(value)
    except TypeError:  # half of a surrogate pair, or an integer beyond 64 bits
        plain = orjson.dumps(to_plain(value))
    return b64encode(gzip.compress(plain, compresslevel=6, mtime=0))


class Blocks:
    """Values in the order they are added, `size` of them a block."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.packed: list[bytes] = []
        self._open: list[Any] = []
        self.count = 0

    def add(self, value: Any) -> int:
        """The value's place: it is number `place % size` in block `place // size`."""
        self._open.append(value)
        self.count += 1
        if len(self._open) == self.size:
            self._close()
        return self.count - 1

    def finish(self) -> list[bytes]:
        """All blocks, the last one maybe shorter."""
        if self._open:
            self._close()
        return self.packed

    def _close(self) -> None:
        self.packed.append(pack(self._open))
        self._open = []
