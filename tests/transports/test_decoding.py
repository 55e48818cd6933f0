"""Bodies in pieces: whatever the cuts, the same bytes; whatever the damage, a `BadResponse`."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import BadResponse
from agentbatch.transports.decoding import BodyDecoder

PACKERS = {
    None: bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def decode(coding: str | None, chunks: list[bytes], cap: int = 1 << 30) -> bytes:
    decoder = BodyDecoder(coding, cap)
    whole = b"".join(piece for chunk in chunks for piece in decoder.decode(chunk))
    decoder.end()
    return whole


@given(st.binary(max_size=2000), st.sampled_from(list(PACKERS)), st.integers(1, 50))
def test_any_body_in_any_pieces(body: bytes, coding: str | None, size: int) -> None:
    packed = PACKERS[coding](body)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert decode(coding, chunks) == body


@given(st.binary(max_size=500), st.sampled_from(["gzip", "deflate"]))
def test_damage_is_a_bad_response_or_no_damage(body: bytes, coding: str) -> None:
    try:
        decode(coding, [body])
    except BadResponse:
        pass


@given(st.binary(min_size=1, max_size=500), st.sampled_from(["gzip", "deflate"]), st.data())
def test_a_cut_body_is_a_bad_response(body: bytes, coding: str, data: st.DataObject) -> None:
    packed = PACKERS[coding](body)
    cut = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(BadResponse, match="broke off"):
        decode(coding, [packed[:cut]])


def test_an_empty_body_needs_no_coding() -> None:
    assert decode("gzip", []) == b""


def test_what_follows_a_compressed_body_is_ignored() -> None:
    assert decode("gzip", [gzip.compress(b"ok") + b"\0\0padding"]) == b"ok"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "\x1b[31m"])
def test_codings_that_were_not_asked_for(coding: str) -> None:
    with pytest.raises(BadResponse, match="not asked for") as caught:
        BodyDecoder(coding, 10)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("coding", list(PACKERS))
def test_the_cap_is_exact(coding: str | None) -> None:
    body = bytes(range(256)) * 40
    assert decode(coding, [PACKERS[coding](body)], cap=len(body)) == body
    with pytest.raises(BadResponse, match="larger than"):
        decode(coding, [PACKERS[coding](body)], cap=len(body) - 1)


def test_repetitive_answers_are_no_bombs() -> None:
    body = b"the same sentence again and again. " * 400_000  # 14 MB that shrink 400 fold
    assert decode("gzip", [gzip.compress(body, 1)]) == body


def test_pieces_are_small_however_much_they_unpack_to() -> None:
    decoder = BodyDecoder("gzip", 1 << 30)
    assert max(len(piece) for piece in decoder.decode(gzip.compress(bytes(5_000_000), 1))) <= 256 * 1024
