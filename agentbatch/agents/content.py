"""`content:` of an agent: images and files beside the text of its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import model_validator

from agentbatch.errors import InputFault
from agentbatch.files.attached import Bounds, attach
from agentbatch.messages import Attachment, Message
from agentbatch.record import record
from agentbatch.settings import Settings, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Template, Value
from agentbatch.transports.threads import Raised, Threads

_AT_ONCE = 16
"""Files of an agent that are read at once to know them, whatever number of items is in flight: each is in memory."""


class PartConfig(Settings):
    """A part of the user message: one of these."""

    text: TemplateText | None = None
    """A template."""
    image: TemplateText | None = None
    """A path inside `content_root`, an `https://` URL, or a `data:` URI, as `{{ input.path }}`; or one
    `{{ expression }}` that gives a list of them. Nothing, where it is empty."""
    file: TemplateText | None = None
    """The same, of a PDF."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.text, self.image, self.file)) != 1:
            raise ValueError("a part is one of `text`, `image`, `file`")
        return self


@record
class _Wanted:
    kind: Literal["image", "file"]
    value: Value


class Content:
    """Makes the user message of a prompt and its parts.

    Args:
        prompt: its text, where there is one, comes first.
        parts: what follows.
        where: the agent's place in the config.
        bounds: which files may be read.
        threads: where files are read.
    """

    def __init__(
        self, prompt: Template | None, parts: Sequence[PartConfig], where: str, bounds: Bounds, threads: Threads
    ) -> None:
        made = [_template_of(part, f"{where}.content[{place}]") for place, part in enumerate(parts)]
        self._parts: list[Template | _Wanted] = [*([] if prompt is None else [prompt]), *made]
        self._bounds = bounds
        self._threads = threads
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def message(self, names: Mapping[str, Any], visit: Visit) -> Message:
        """The user message for one item.

        Raises:
            InputFault: a file is not there, not inside the folder, too large, or of another kind.
        """
        wanted = [part for template in self._parts for part in _rendered(template, names)]
        parts: list[str | Attachment] = []
        visit.begin_work()
        try:
            for part in wanted:
                parts.append(part if isinstance(part, str) else await self._attached(*part))
        finally:
            visit.end_work()
        return Message("user", "\n\n".join(part for part in parts if isinstance(part, str)), parts=tuple(parts))

    async def _attached(self, kind: Literal["image", "file"], named: str) -> Attachment:
        if named.startswith("https://"):
            return attach(kind, named, self._bounds)
        try:
            async with self._places:
                return await self._threads.run(partial(attach, kind, named, self._bounds))
        except Raised as raised:
            raise raised.error from None


def content_bounds(folder: Path, root: str, most_mb: float) -> Bounds:
    """The bounds that a config in `folder` draws."""
    return Bounds((folder / root).absolute(), int(most_mb * 1_000_000))


def _template_of(part: PartConfig, where: str) -> Template | _Wanted:
    if part.text is not None:
        return Template(part.text, where=f"{where}.text")
    if part.image is not None:
        return _Wanted("image", Value(part.image, where=f"{where}.image"))
    return _Wanted("file", Value(part.file or "", where=f"{where}.file"))


def _rendered(
    template: Template | _Wanted, names: Mapping[str, Any]
) -> list[str] | list[tuple[Literal["image", "file"], str]]:
    if isinstance(template, Template):
        text = template.render(names)
        return [text] if text else []
    value = template.value.of(names)
    named = cast("list[Any]", value) if isinstance(value, list) else [value]
    for each in named:
        if each is not None and not isinstance(each, str):
            raise InputFault(f"{template.kind}: expected a path or a URL, or a list of them, got {type(each).__name__}")
    return [(template.kind, each.strip()) for each in named if each and each.strip()]
