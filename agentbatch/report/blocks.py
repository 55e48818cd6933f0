"""Data for the page in blocks that a browser unpacks one by one: JSON, gzip, base64."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import orjson

from agentbatch.files.plain_json import to_plain

_MOST_WAITING = 16


def pack(value: Any) -> bytes:
    """One block: base64 has no character that means anything in HTML, so no data can leave its element."""
    return _squeezed(_encoded(value))


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half of a surrogate pair, or an integer beyond 64 bits
        return orjson.dumps(to_plain(value))


def _squeezed(encoded: bytes) -> bytes:
    return b64encode(gzip.compress(encoded, compresslevel=6, mtime=0))


class Packer:
    """Packs in a thread beside the reading: zlib lets go of the interpreter's lock. Use it in a `with`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="packing")
        self._waiting: deque[Future[bytes]] = deque()

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=True)

    def pack(self, value: Any) -> Future[bytes]:
        """The block, once it is packed. Waits where many others wait already: memory stays bounded."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        packed = self._thread.submit(_squeezed, _encoded(value))
        self._waiting.append(packed)
        return packed


class Blocks:
    """Values in the order they are added, `size` of them a block."""

    def __init__(self, size: int, packer: Packer) -> None:
        self.size = size
        self.count = 0
        self._packer = packer
        self._packed: list[Future[bytes]] = []
        self._open: list[Any] = []

    def add(self, value: Any) -> int:
        """The value's place: it is number `place % size` in block `place // size`."""
        self._open.append(value)
        self.count += 1
        if len(self._open) == self.size:
            self._close()
        return self.count - 1

    @property
    def loose(self) -> list[Any]:
        """The values that don't fill a block yet."""
        return self._open

    def whole(self) -> list[bytes]:
        """The full blocks."""
        return [packed.result() for packed in self._packed]

    def include(self, blocks: Sequence[bytes]) -> int:
        """Full blocks of as many values each that another one packed; the place of their first value.

        They may come only while no value is loose.
        """
        first = self.count
        for block in blocks:
            packed: Future[bytes] = Future()
            packed.set_result(block)
            self._packed.append(packed)
        self.count += len(blocks) * self.size
        return first

    def finish(self) -> list[bytes]:
        """All blocks, the last one maybe shorter."""
        if self._open:
            self._close()
        return self.whole()

    def _close(self) -> None:
        self._packed.append(self._packer.pack(self._open))
        self._open = []
