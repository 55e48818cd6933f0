"""Images and files for prompts: found inside a folder that is a boundary, judged by their content, read when sent.

What an input names is untrusted: only images and PDFs inside the folder are read, whatever a path says.
"""

from __future__ import annotations

import binascii
import hashlib
import mimetypes
from base64 import b64decode
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from agentbatch.errors import InputFault
from agentbatch.files.folders import Folder, Outside
from agentbatch.messages import Attachment
from agentbatch.text.redact import visible

Kind = Literal["image", "file"]

_MAGIC: dict[Kind, tuple[tuple[bytes, str], ...]] = {
    "image": (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
    ),
    "file": ((b"%PDF-", "application/pdf"),),
}
_WHAT: dict[Kind, str] = {"image": "image (PNG, JPEG, GIF or WebP)", "file": "PDF"}


class Bounds(NamedTuple):
    """Where files may be, and how large each may be in bytes."""

    root: Path
    most: int


def attach(kind: Kind, named: str, bounds: Bounds) -> Attachment:
    """What `named` stands for: an `https://` URL, which is passed on, a `data:` URI, or a path inside the folder.

    Blocks while a file is read, once, to know it by its digest; its bytes are not kept.

    Raises:
        InputFault: there is none inside, it is too large, or of another kind.
    """
    if named.startswith("https://"):
        return _of_url(kind, named)
    if named.startswith("data:"):
        content = _decoded(named, bounds.most)
        return _described(kind, content, "data", partial(_decoded, named, bounds.most), bounds)
    if "://" in named[:20]:
        raise InputFault(f"{kind}: {visible(named, 100)!r}: expected a path, an https:// URL, or a data: URI")
    name = _inside(kind, named, bounds.root)
    read = partial(_read, kind, name, bounds)
    return _described(kind, read(), name, read, bounds)


def _of_url(kind: Kind, url: str) -> Attachment:
    guess = mimetypes.guess_type(urlsplit(url).path)[0]
    media_type = guess or ("image/jpeg" if kind == "image" else "application/pdf")
    return Attachment(kind, media_type, digest=url, size=0, name=PurePosixPath(urlsplit(url).path).name, url=url)


def _inside(kind: Kind, named: str, root: Path) -> str:
    """The path relative to the folder; an absolute one may lie in it, too."""
    if not named.startswith("/"):
        return named
    for start in (root, root.resolve()):
        if Path(named).is_relative_to(start):
            return str(Path(named).relative_to(start))
    raise InputFault(f"{kind}: {visible(named, 100)!r} is not in {root}: set content_root to a folder that holds it")


def _read(kind: Kind, name: str, bounds: Bounds) -> bytes:
    try:
        content, size = Folder(bounds.root).read(name, bounds.most + 1)
    except (Outside, OSError) as error:
        raise InputFault(f"{kind}: {error} (in {bounds.root})") from None
    if size > bounds.most or len(content) > bounds.most:
        raise _too_large(kind, name, size, bounds.most)
    return content


def _decoded(uri: str, most: int) -> bytes:
    """The bytes of a data URI (RFC 2397)."""
    head, comma, data = uri.partition(",")
    if not comma or len(data) > most * 4:
        raise InputFault("a data: URI that has no data, or more than max_file_mb allows")
    if not head.endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return b64decode(data, validate=True)
    except binascii.Error as error:
        raise InputFault(f"a data: URI whose base64 is broken: {error}") from None


def _described(kind: Kind, content: bytes, name: str, read: partial[bytes], bounds: Bounds) -> Attachment:
    if len(content) > bounds.most:
        raise _too_large(kind, name, len(content), bounds.most)
    media_type = _media_type(kind, content)
    if media_type is None:
        raise InputFault(f"{kind}: {visible(name, 100)!r} is no {_WHAT[kind]}, by its content")
    own_name = PurePosixPath(name).name
    return Attachment(kind, media_type, _digest(content), len(content), own_name, None, partial(_same, read, own_name))


def _media_type(kind: Kind, content: bytes) -> str | None:
    if kind == "image" and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _MAGIC[kind] if content.startswith(magic)), None)


def _same(read: partial[bytes], name: str, digest: str) -> bytes:
    """The bytes again.

    Raises:
        InputFault: they are others by now.
    """
    content = read()
    if _digest(content) != digest:
        raise InputFault(f"{visible(name, 100)!r} changed while its item was worked on")
    return content


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _too_large(kind: Kind, name: str, size: int, most: int) -> InputFault:
    return InputFault(
        f"{kind}: {visible(name, 100)!r} has {size / 1e6:.1f} MB, more than max_file_mb allows ({most / 1e6:g})"
    )
