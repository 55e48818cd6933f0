"""Which texts of a config section are templates, conditions, and names of models and steps: read off its class."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agentbatch.config.yaml_tree import Path
from agentbatch.record import record
from agentbatch.settings import Meaning


@record
class MeantText:
    """A text at `path` that is a template, a condition, or the name of a model or step."""

    path: Path
    of: str
    text: str


def meant_texts(kind: type[BaseModel], data: Mapping[str, Any], path: Path) -> Iterator[MeantText]:
    """The texts with a meaning in a mapping that `kind` describes, whether or not the mapping is valid."""
    found = dict[MeantText, None]()
    for key, field in keys_of(kind).items():
        if key in data:
            found.update(dict.fromkeys(_walk(field.annotation, tuple(field.metadata), data[key], (*path, key))))
    yield from found


def keys_of(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys that a section may have, as they are spelled in the file."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The section classes that a value of this type may be, or may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections_in(part)


def _walk(annotation: Any, metadata: tuple[Any, ...], value: Any, path: Path) -> Iterator[MeantText]:
    if isinstance(value, str):
        yield from (MeantText(path, mark.of, value) for mark in metadata if isinstance(mark, Meaning))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any and metadata and isinstance(value, list | dict):  # the meaning of every text in it
        parts = (
            enumerate(cast("list[Any]", value)) if isinstance(value, list) else cast("dict[str, Any]", value).items()
        )
        for key, part in parts:
            yield from _walk(Any, metadata, part, (*path, key))
    elif origin is Annotated:
        yield from _walk(arguments[0], arguments[1:], value, path)
    elif origin is Union or origin is types.UnionType:
        for arm in arguments:
            yield from _walk(arm, (), value, path)
    elif isinstance(value, list) and origin in (list, tuple):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _walk(arguments[0], (), item, (*path, index))
    elif isinstance(value, str) and origin is list:  # a name that should stand in a list is one all the same
        yield from _walk(arguments[0], (), value, path)
    elif isinstance(value, dict):
        yield from _walk_mapping(annotation, cast("dict[str, Any]", value), path)


def _walk_mapping(annotation: Any, value: dict[str, Any], path: Path) -> Iterator[MeantText]:
    if get_origin(annotation) is dict:
        for key, item in value.items():
            yield from _walk(get_args(annotation)[1], (), item, (*path, key))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from meant_texts(annotation, value, path)
