"""What may leave the process: secrets taken out, and text made harmless for a terminal."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote, quote_plus

MIN_SECRET_CHARS = 8
"""Shorter values (`EMPTY`, `none`, `test`) are placeholders of keyless servers, and words that stand in honest text."""

REDACTED = "[redacted]"

_RARE_FIRST = b"QZXJKWYVUBGHFPMLRDCNOSATEI+=qzjxwvkyfbgh9876543mupcldrsnotaie210"
"""Letters and digits as they are met in results and traces, the seldom ones first; of others nothing is known."""


class Redactor:
    """Replaces secrets wherever they stand: as they are, JSON-escaped, URL-encoded, or inside base64.

    Made for every result and trace line, and copies nothing where nothing matches. For each spelling its rarest byte is
    looked for first, which takes a twentieth of the time that a search for the whole takes.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {form for secret in secrets if len(secret) >= MIN_SECRET_CHARS for form in _spellings(secret)}
        self._needles = sorted(spellings, key=lambda form: (-len(form), form))
        encoded = [needle.encode("utf-8", "surrogatepass") for needle in self._needles]
        self._bytes = [(_rarest(needle), needle) for needle in encoded]

    def text(self, text: str) -> str:
        """The text without secrets."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, REDACTED)
        return text

    def data(self, data: bytes) -> bytes:
        """The UTF-8 bytes without secrets. JSON stays valid JSON."""
        for rarest, needle in self._bytes:
            if rarest in data and needle in data:
                data = data.replace(needle, REDACTED.encode())
        return data

    def value(self, value: Any) -> Any:
        """The value with all text in it clean, however deep that stands in lists, tuples and mappings."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.value(each) for name, each in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list | tuple):
            clean = [self.value(each) for each in cast("list[Any]", value)]
            return clean if isinstance(value, list) else tuple(clean)
        return value


def _rarest(needle: bytes) -> int:
    places = {byte: _RARE_FIRST.find(byte) for byte in needle}
    return min((byte for byte in places if places[byte] >= 0), key=places.__getitem__, default=needle[0])


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield escaped
        yield json.dumps(escaped, ensure_ascii=False)[1:-1]  # JSON text inside JSON, as in tool arguments
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield from _in_base64(secret.encode("utf-8", "surrogatepass"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """The characters that stand for the secret alone, in each of the three ways it can lie across base64's groups."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        first = (before * 8 + 5) // 6  # characters before this one also hold bits of what precedes the secret
        last = (before + len(secret)) * 8 // 6  # characters from this one on also hold bits of what follows
        core = encoded[first:last]
        yield core
        yield core.replace("+", "-").replace("/", "_")
        yield core.replace("/", "\\/")  # some JSON writers escape slashes


_UNPRINTABLE = re.compile(r"[^ -~]")


def visible(text: str, limit: int = 200) -> str:
    """Text made by a model or an input, fit for a terminal's line of at most `limit` characters.

    Control characters, escape sequences, C1 codes, bidi overrides and everything else that has no shape of its own is
    shown escaped (`\\x1b`, `\\u202e`); line breaks become `\\n`. Longer text ends in `...`.
    """
    cut = text[: limit + 1]
    if not cut.isprintable():
        cut = _UNPRINTABLE.sub(_escape, cut)
    return cut if len(cut) <= limit and len(text) <= limit else cut[: max(0, limit - 3)].rstrip() + "..."[:limit]


_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\xa0": " ", "\u3000": " ", "\u202f": " ", "\u2009": " "}


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char.isprintable():
        return char
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
