"""One section of the config against its class: keys, types and bounds, in words a person wrote for a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from agentbatch.config.meanings import keys_of, sections_in
from agentbatch.config.problems import KEY_NAME, Problem, masked
from agentbatch.config.source import Origin
from agentbatch.config.yaml_tree import Path, parse_scalar
from agentbatch.record import record
from agentbatch.text.suggestions import did_you_mean, listing, nearest

Section = TypeVar("Section", bound=BaseModel)


def _nowhere(_: str) -> str:
    return ""


def checked(
    kind: type[Section],
    data: Mapping[str, Any],
    path: Path,
    origin: Origin,
    also_known: Iterable[str] = (),
    place_of: Callable[[str], str] = _nowhere,
) -> tuple[Section | None, list[Problem]]:
    """The section at `path` as an object of its class, or what is wrong with it.

    `also_known` are keys to suggest beside those of the class; `place_of` says of a key where else it belongs.
    """
    try:
        return kind.model_validate(data), []
    except ValidationError as error:
        faults = _faults(error, data)
    values = _meant_values(faults, path, origin)
    if values:
        try:
            return kind.model_validate(_replaced(data, values)), []
        except ValidationError as error:
            faults = _faults(error, data)
    known = (*keys_of(kind), *also_known)
    return None, [_problem(fault, kind, known, place_of, path, origin) for fault in _without_echoes(faults)]


def _without_echoes(faults: list[_Fault]) -> list[_Fault]:
    """A misspelt key is one problem: that the right one is missing goes without saying."""
    unknown = [fault.path for fault in faults if fault.type == "extra_forbidden"]
    return [fault for fault in faults if fault.type != "missing" or not _misspelt(fault.path, unknown)]


def _misspelt(missing: Path, unknown: list[Path]) -> bool:
    return any(path[:-1] == missing[:-1] and nearest(str(path[-1]), [str(missing[-1])]) for path in unknown)


@record
class _Fault:
    """One error of pydantic's, at its path in the data. `tags` is its path as pydantic has it, union arms and all."""

    path: Path
    tags: Path
    type: str
    message: str
    value: Any
    context: Mapping[str, Any]


def _faults(error: ValidationError, data: Mapping[str, Any]) -> list[_Fault]:
    """The errors worth telling: of a union, those of the arm that was probably meant."""
    by_place: dict[Path, list[_Fault]] = {}
    for each in error.errors(include_url=False):
        path = _without_tags(each["loc"], data, each["type"])
        fault = _Fault(path, each["loc"], each["type"], each["msg"], each["input"], each.get("ctx", {}))
        by_place.setdefault(_union_of(fault), []).append(fault)
    return [fault for faults in by_place.values() for fault in _meant(faults)]


def _without_tags(location: Path, data: Any, kind: str) -> Path:
    """The path of an error in the data: pydantic puts the names of union arms between."""
    path: Path = ()
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(data, dict) and part in data:
            data = cast("dict[Any, Any]", data)[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[part]
        elif not (last and kind == "missing"):
            continue
        path = (*path, part)
    return path


def _union_of(fault: _Fault) -> Path:
    """What errors of one union's arms share: the path before the first arm's name; of others, their own path."""
    for position, part in enumerate(fault.tags):
        if position >= len(fault.path) or fault.path[position] != part:
            return fault.path[:position]
    return fault.tags


_WRONG_TYPE = frozenset(
    {
        "string_type",
        "int_type",
        "int_from_float",
        "float_type",
        "bool_type",
        "list_type",
        "dict_type",
        "model_type",
        "model_attributes_type",
        "literal_error",
        "none_required",
    }
)


_NUMBER_WANTED = frozenset({"int_type", "float_type", "bool_type"})


def _meant(faults: list[_Fault]) -> list[_Fault]:
    """Of the errors of a union, those of one arm; where the value fits no arm at all, all that was expected in one."""
    if len(faults) == 1:
        return faults
    depth = len(_union_of(faults[0]))
    arms: dict[Any, list[_Fault]] = {}
    for fault in faults:
        arms.setdefault(fault.tags[depth] if len(fault.tags) > depth else None, []).append(fault)
    inside = [arm for arm in arms.values() if any(len(fault.path) > depth for fault in arm)]
    if inside:
        return min(inside, key=len)
    other = [fault for fault in faults if fault.type not in _WRONG_TYPE]
    if other:
        return other[:1]
    words = " or ".join(dict.fromkeys(_expected(fault) for fault in faults if fault.type != "none_required"))
    first = faults[0]
    context = {key: value for fault in faults if fault.type == "literal_error" for key, value in fault.context.items()}
    if any(fault.type == "list_type" for fault in faults):
        context["list"] = True
    return [_Fault(first.path, first.tags, "union", f"expected {words}", first.value, context)]


def _meant_values(faults: list[_Fault], path: Path, origin: Origin) -> dict[Path, Any]:
    """What variables say where another type is wanted: `${MODEL}` may be `4`, and `"${RPM}"` has quotes in `{ }`."""
    found: dict[Path, Any] = {}
    for fault in faults:
        filled = origin.filled((*path, *fault.path))
        if filled is not None and fault.type == "string_type":
            found[fault.path] = filled.text
        elif filled is not None and fault.type in _NUMBER_WANTED:
            found[fault.path] = parse_scalar(filled.text)
    return found


def _replaced(data: Any, values: Mapping[Path, Any]) -> Any:
    if () in values:
        return values[()]
    if isinstance(data, dict):
        return {key: _replaced(value, _below(key, values)) for key, value in cast("dict[str, Any]", data).items()}
    if isinstance(data, list):
        return [_replaced(value, _below(index, values)) for index, value in enumerate(cast("list[Any]", data))]
    return data


def _below(part: str | int, values: Mapping[Path, Any]) -> dict[Path, Any]:
    return {path[1:]: value for path, value in values.items() if path[0] == part}


# Words


def _problem(
    fault: _Fault,
    kind: type[BaseModel],
    known: tuple[str, ...],
    place_of: Callable[[str], str],
    path: Path,
    origin: Origin,
) -> Problem:
    place = (*path, *fault.path)
    if fault.type == "extra_forbidden":
        key = str(fault.path[-1])
        keys = known if len(fault.path) == 1 else _keys_at(kind, fault.tags[:-1])
        belongs = place_of(key) if len(fault.path) == 1 else ""
        hint = (belongs + did_you_mean(key, keys)).lstrip(", ") or f"expected one of: {listing(keys, 30)}"
        return origin.problem(place, f"unknown key {key!r}", where=place[:-1], key=True, word=key, hint=hint)
    if fault.type == "missing":
        key = str(fault.path[-1])
        return origin.problem(place[:-1], f"missing key {key!r}", key=True, hint=_MENDS.get(key, ""))
    variable = origin.from_environment(place)
    if variable is not None and _is_key(place):
        message = f"{listing(variable.variables)} {_said(fault)}"
    else:
        message = _said(fault) + _got(fault, place, origin)
    hint = "" if variable is not None else _value_hint(fault, of_type=place[0] == "vars" or "set" in place[:-1])
    return origin.problem(place, message, hint=hint, key=fault.tags[-1:] == ("[key]",))


def _value_hint(fault: _Fault, *, of_type: bool) -> str:
    """How to mend a value of the wrong type; `of_type`: a bare expression there keeps its value's type."""
    value = fault.value
    if fault.type == "string_type" and isinstance(value, int | float):
        told = str(value).lower()
        return f'write "{{{{ {told} }}}}", or "{told}" for a text' if of_type else f'write "{told}"'
    if _is_quoted_number(fault):
        return "remove the quotes"
    if fault.path[-1:] == ("max_failures",) and isinstance(value, float) and 0 < value < 1:
        return f"a share is written with a percent sign: {value * 100:g}%"
    if not isinstance(value, str) or not value:
        return ""
    if fault.type in _NUMBER_WANTED and isinstance(parse_scalar(value.strip("$ ")), int | float):
        return f"write {value.strip('$ ')}"
    choices = re.findall("'([^']+)'", str(fault.context.get("expected", "")))
    if choices:
        return did_you_mean(value, choices).lstrip(", ")
    wants_list = fault.type == "list_type" or "list" in fault.context
    return f"write [{value}]" if wants_list and len(value) <= 60 and "," not in value else ""


def _keys_at(kind: type[BaseModel], tags: Path) -> tuple[str, ...]:
    """The keys of the section that an error's path leads to."""
    sections: list[type[BaseModel]] = [kind]
    for part in tags:
        named = [section for section in sections if section.__name__ == part]
        fields = [keys_of(section)[part] for section in sections if isinstance(part, str) and part in keys_of(section)]
        if named:
            sections = named
        elif fields:
            sections = [inner for field in fields for inner in sections_in(field.annotation)]
    return tuple(dict.fromkeys(key for section in sections for key in keys_of(section)))


_MENDS = {
    "version": "of this format, at the top of the file: version: 1",
    "max_iterations": "the bound of the loop, whatever its conditions say: max_iterations: 5",
    "when": "the condition that decides between `then` and `else`: when: \"input.lang == 'de'\"",
}
"""How to mend it that a key is missing, where its name does not say it."""

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}


def _expected(fault: _Fault) -> str:
    if fault.type == "literal_error":
        return str(fault.context.get("expected", "one of a few words"))
    if fault.type == "model_type":
        section = str(fault.context.get("class_name", ""))
        return "a mapping" if not section else f"a mapping ({section.removesuffix('Config').lower()})"
    return _EXPECTED.get(fault.type, fault.message)


def _said(fault: _Fault) -> str:
    context = fault.context
    if fault.type in _EXPECTED or fault.type == "literal_error":
        return f"expected {_expected(fault) if fault.type != 'model_type' else 'a mapping'}"
    if fault.type == "greater_than_equal":
        return f"must be at least {context['ge']:g}"
    if fault.type == "greater_than":
        return f"must be more than {context['gt']:g}"
    if fault.type == "less_than_equal":
        return f"must be at most {context['le']:g}"
    if fault.type == "string_pattern_mismatch":
        return "a name has letters, digits and _ only"
    if fault.type in ("too_short", "string_too_short"):
        return "must not be empty"
    return fault.message.removeprefix("Value error, ")


def _got(fault: _Fault, place: Path, origin: Origin) -> str:
    """What stood there instead, unless it may be a secret."""
    value = fault.value
    variable = origin.from_environment(place)
    if isinstance(value, str) and value and (repr(value) in fault.message or "{{" in value):
        return ""  # the message quotes it, or is about a part of the template
    if variable is not None:
        return f", got the value of {listing(variable.variables)}"
    if _is_key(place) or fault.type == "too_short":
        return ""
    if value is None:
        return ", got nothing"
    if isinstance(value, bool):
        return f", got {str(value).lower()}"
    if isinstance(value, int | float):
        return f", got {value}"
    if isinstance(value, str):
        return f", got {masked(value)[:60]!r}"
    return ", got a list" if isinstance(value, list) else ", got a mapping" if fault.type in _WRONG_TYPE else ""


def _is_key(place: Path) -> bool:
    return any(isinstance(part, str) and KEY_NAME.search(part) for part in place[2:])


def _is_quoted_number(fault: _Fault) -> bool:
    return (
        fault.type in _NUMBER_WANTED and isinstance(fault.value, str) and not isinstance(parse_scalar(fault.value), str)
    )
