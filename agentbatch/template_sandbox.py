"""The sandbox that templates and conditions run in: strict about missing names, data only, bounded in size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, cast

import orjson
from jinja2 import StrictUndefined
from jinja2.exceptions import UndefinedError
from jinja2.runtime import ChainableUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from agentbatch.suggestions import did_you_mean, listing


class Missing(StrictUndefined):
    """A name or field that is not there. In a template `{% if input.x %}` may ask for a field; nothing else may."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        owner, name = self._undefined_obj, self._undefined_name
        if self._undefined_hint:
            return self._undefined_hint
        if owner is missing:
            return f"unknown name {name!r}"
        if isinstance(owner, Mapping):
            fields = [str(key) for key in cast("Mapping[Any, Any]", owner)]
            hint = did_you_mean(str(name), fields) or (f" (there is: {listing(fields)})" if fields else "")
            return f"no field {name!r}{hint}"
        if owner is None:
            return f"no field {name!r} in null"
        if isinstance(owner, str):
            return f"no field {name!r} in a text (an agent's answer has fields if it has an output_schema)"
        return f"no field {name!r} in a {type(owner).__name__}"


class MissingField(Missing):
    """As `Missing`, in templates: a field that is not there is false, a name that is not there is a fault."""

    __slots__ = ()

    def __bool__(self) -> bool:
        if self._undefined_obj is missing or self._undefined_exception is not UndefinedError:
            self._fail_with_undefined_error()
        return False


class NotRun(ChainableUndefined):
    """Stands for a step that is declared but has not run: empty, false, never equal, and so is every field of it."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return f"{self._undefined_name or 'a step'} has not run yet"

    def __call__(self, *args: Any, **kwargs: Any) -> NotRun:
        return self

    def _never(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __hash__ = ChainableUndefined.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NotRun)

    def __contains__(self, other: object) -> bool:
        return False


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with fields before methods: `input.items` is the field "items" of the input."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            try:
                return cast("Mapping[str, Any]", obj)[attribute]
            except KeyError:
                pass
        return super().getattr(obj, attribute)


@cache
def template_environment() -> Sandbox:
    """The environment of templates, built when the first one is compiled."""
    return _environment(MissingField)


@cache
def condition_environment() -> Sandbox:
    """The environment of conditions, which are strict through and through: they fail closed."""
    return _environment(Missing)


def _environment(undefined: type[Undefined]) -> Sandbox:
    environment = Sandbox(undefined=undefined, autoescape=False, finalize=as_text, optimized=False)
    environment.globals.pop("lipsum", None)
    environment.filters["tojson"] = to_json
    return environment


def as_text(value: Any) -> Any:
    """A value as a prompt shows it: text as it is, null as nothing, objects and lists as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return to_json(cast("Any", value))
    if isinstance(value, Iterator):
        return to_json(list(cast("Iterator[Any]", value)))
    if callable(value) and not isinstance(value, Undefined):
        name = getattr(cast("Callable[..., Any]", value), "__name__", "?")
        raise UndefinedError(f"no field {name!r}")
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text, compact unless `indent` says how many spaces a level has.

    Jinja's own `tojson` escapes for HTML; a prompt or a request body is no HTML.
    """
    if indent is None:
        try:
            return orjson.dumps(value, default=_json_default, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # integers beyond 64 bits, lone surrogates
            pass
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=_json_default)


def _json_default(value: Any) -> Any:
    if isinstance(value, NotRun):
        return None
    if isinstance(value, Undefined):
        str(value)  # raises with its own words
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, Iterator):
        return list(cast("Iterator[Any]", value))
    raise TypeError(f"a {type(value).__name__} is not JSON")
