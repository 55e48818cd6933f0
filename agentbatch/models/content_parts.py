"""Messages with images and files, as every provider's encoding meets them."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from agentbatch.messages import Attachment, ChatRequest, Message

Files = Mapping[str, str]
"""The base64 of what a request brings along, by its digest. It is there while the request is sent, and no longer."""

NO_FILES: Files = {}


async def read_files(request: ChatRequest) -> Files:
    """Read what the request brings along.

    Raises:
        InputFault: a file has gone, or is another by now.
    """
    wanted = {part.digest: part for message in request.messages for part in attachments_of(message) if not part.url}
    return {digest: await asyncio.to_thread(_in_base64, part) for digest, part in wanted.items()}


def attachments_of(message: Message) -> list[Attachment]:
    """The images and files of a message."""
    return [part for part in message.parts if not isinstance(part, str)]


def content_of(message: Message, encode: Callable[[str | Attachment], Any]) -> Any:
    """The content of a message: its text as it is, or a list of encoded parts.

    Where a hook has changed the text, the changed text comes first and the attachments after it: what was taken out of
    the text must not be sent in the parts.
    """
    if not message.parts:
        return message.content
    texts = [part for part in message.parts if isinstance(part, str)]
    if "\n\n".join(texts) == message.content:
        return [encode(part) for part in message.parts]
    return [encode(part) for part in (message.content, *attachments_of(message)) if part != ""]


def data_uri(part: Attachment, files: Files) -> str:
    """The URL of an attachment: its own, or one that holds its bytes."""
    return part.url or f"data:{part.media_type};base64,{files[part.digest]}"


def _in_base64(part: Attachment) -> str:
    return b64encode(part.read()).decode()
