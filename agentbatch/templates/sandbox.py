"""The sandbox that templates and conditions run in: strict about missing names, data only, bounded in size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from inspect import signature
from typing import Any, cast

import orjson
from jinja2 import StrictUndefined, nodes, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import UndefinedError
from jinja2.filters import sync_do_join, sync_do_slice
from jinja2.nodes import EvalContext
from jinja2.runtime import ChainableUndefined, Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from agentbatch.templates.bounds import (
    FILTER_CHECKS,
    TEXT_FILTERS,
    UNSAFE_METHODS,
    Buffer,
    TooLarge,
    bounded_list,
    check_format,
    check_method,
    check_operation,
    check_text,
    ensure,
    weight,
)
from agentbatch.text.suggestions import did_you_mean, listing

_MAX_INDENT = 16


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

    def __reduce__(self) -> tuple[Any, ...]:
        return _not_run, (self._undefined_name,)

    def _never(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __hash__ = ChainableUndefined.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NotRun)

    def __contains__(self, other: object) -> bool:
        return False


def _not_run(name: str | None) -> NotRun:
    """The same in another process."""
    return NotRun(name=name)


class _BoundedCode(CodeGenerator):
    """Jinja's code, with bounds on what it collects and joins."""

    def buffer(self, frame: Frame) -> None:
        frame.buffer = self.temporary_identifier()
        self.writeline(f"{frame.buffer} = environment.new_buffer()")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with fields before methods (`input.items` is the field "items"), and bounded in size."""

    code_generator_class = _BoundedCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    new_buffer = Buffer

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict or isinstance(obj, Mapping):
            try:
                return cast("Mapping[str, Any]", obj)[attribute]
            except KeyError:
                pass
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in UNSAFE_METHODS and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # names as in Jinja
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            check_method(__obj.__name__, owner, args)
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formatted = super().wrap_str_format(value)
        if formatted is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> str:
            check_format(value.__self__, (args, kwargs))
            return formatted(*args, **kwargs)

        return bounded

    def joined(self, parts: tuple[Any, ...]) -> str:
        """What `~` makes."""
        ensure(sum(weight(part) for part in parts), "a text")
        return "".join(map(str, parts))


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
    filters = cast("dict[str, Callable[..., Any]]", environment.filters)
    filters["slice"] = sync_do_slice
    for name, (arguments, check) in FILTER_CHECKS.items():
        filters[name] = _checked(filters[name], arguments, check)
    for name in TEXT_FILTERS:
        filters[name] = _checked(filters[name], (_subject(filters[name]),), check_text)
    filters |= {"tojson": to_json, "join": _join, "list": bounded_list, "string": _string}
    return environment


def _checked(original: Callable[..., Any], names: tuple[str, ...], check: Callable[..., None]) -> Callable[..., Any]:
    """A filter that looks at some of its arguments before it works."""
    shape = signature(original)

    @wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound = shape.bind(*args, **kwargs)
        bound.apply_defaults()
        check(*(bound.arguments[name] for name in names))
        return original(*args, **kwargs)

    return checked


@pass_eval_context
def _join(eval_ctx: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's `join`, within bounds."""
    parts = bounded_list(value)
    ensure(weight(parts) + len(parts) * weight(d), "a joined text")
    return sync_do_join(eval_ctx, parts, d, attribute)


def _subject(original: Callable[..., Any]) -> str:
    """The name of the argument that a filter is applied to: the first after what Jinja itself passes."""
    return list(signature(original).parameters)[1 if hasattr(original, "jinja_pass_arg") else 0]


def _string(value: Any) -> str:
    check_text(value)
    return str(value)


def as_text(value: Any) -> Any:
    """A value as a prompt shows it: text as it is, null as nothing, objects and lists as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return to_json(cast("Any", value))
    if isinstance(value, Iterator):
        return to_json(bounded_list(cast("Iterator[Any]", value)))
    if isinstance(value, bool | int | float | Undefined):
        return value
    if callable(value):
        raise UndefinedError(f"no field {getattr(cast('Any', value), '__name__', '?')!r}")
    raise UndefinedError(f"a {type(value).__name__} is no text: say which part of it, such as .output")


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text, compact unless `indent` says how many spaces a level has.

    Jinja's own `tojson` escapes for HTML; a prompt or a request body is no HTML.
    """
    ensure(weight(value), "a JSON text")
    if indent is not None and not 0 <= indent <= _MAX_INDENT:
        raise TooLarge(f"an indent is at most {_MAX_INDENT}")
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
