"""Bodies as they come off the wire: decompressed piece by piece, and never read past their cap.

Both HTTP clients hand over raw bytes and leave this to us, so that a small compressed body can't become a large one in
memory before anybody counts. Codings: RFC 9110 section 8.4.1 (`gzip`, `deflate`); no other is ever asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from agentbatch.errors import BadContent, BadResponse

ACCEPT_ENCODING = "gzip, deflate"

_PIECE = 256 * 1024
_BOMB_BYTES = 16 * 1024 * 1024
_BOMB_RATIO = 100
"""Text shrinks 3 to 20 fold. A body beyond `_BOMB_BYTES` that grew more than this much is an attack or a bug."""


class BodyDecoder:
    """Turns the raw chunks of one body into decoded ones.

    Args:
        coding: the answer's `content-encoding`, or None.
        cap: the most decoded bytes that are acceptable.

    Raises:
        BadResponse: (from every method) the body is larger than the cap, not in the coding it claims, or in one that
            was not asked for.
    """

    def __init__(self, coding: str | None, cap: int) -> None:
        self._coding = (coding or "identity").strip().lower()
        if self._coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise BadResponse(f"the answer came in a content-encoding that was not asked for: {self._coding[:40]!r}")
        self._cap = cap
        self._inflate: zlib._Decompress | None = None  # pyright: ignore[reportPrivateUsage]
        self._read = 0
        self._given = 0

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded pieces of `chunk`, each at most 256 KiB if it was compressed."""
        self._read += len(chunk)
        if self._coding in ("identity", ""):
            self._count(len(chunk))
            yield chunk
            return
        while chunk:
            if self._inflate is None:
                self._inflate = zlib.decompressobj(self._window_bits(chunk))
            yield from self._pieces(chunk)
            chunk = self._next_member()

    def end(self) -> None:
        """The last chunk has been given: a compressed body must be complete."""
        if self._inflate is not None and not self._inflate.eof:
            raise BadResponse(f"the answer's {self._coding} body broke off")

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        inflate = self._inflate
        while inflate is not None and not inflate.eof:
            try:
                piece = inflate.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise BadResponse(f"the answer's {self._coding} body is damaged: {error}") from None
            if piece:
                self._count(len(piece))
                yield piece
            chunk = inflate.unconsumed_tail
            if not chunk and len(piece) < _PIECE:
                return

    def _next_member(self) -> bytes:
        """RFC 1952 section 2.2: a gzip file may hold several members. Whatever else follows the end is ignored."""
        rest = self._inflate.unused_data if self._inflate is not None and self._inflate.eof else b""
        if self._coding == "deflate" or not rest.startswith(b"\x1f\x8b"):
            return b""
        self._inflate = None
        return rest

    def _window_bits(self, chunk: bytes) -> int:
        if self._coding != "deflate":
            return 16 + zlib.MAX_WBITS
        # `deflate` means the zlib format, but some servers send the bare stream; the first byte tells (RFC 1950).
        return zlib.MAX_WBITS if chunk[0] & 0x0F == 8 else -zlib.MAX_WBITS

    def _count(self, size: int) -> None:
        self._given += size
        if self._given > self._cap:
            raise too_large(self._cap)
        if self._given > _BOMB_BYTES and self._given > _BOMB_RATIO * self._read:
            raise BadContent(
                f"the answer grew more than {_BOMB_RATIO} fold when decompressed, and was not read further"
            )


def too_large(cap: int) -> BadContent:
    """The fault of a body that passed its cap."""
    return BadContent(f"the answer is larger than {cap:,} bytes, and was not read further")
