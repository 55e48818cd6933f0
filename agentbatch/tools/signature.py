"""What a Python function says of itself: a description and a JSON Schema, from its type hints and its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import Field

from agentbatch.record import record
from agentbatch.transports.argument_types import hints_of

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns?|Yields?|Raises|Notes?|Examples?|Attributes)\s*:\s*$")
_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_FIELD = re.compile(r"^:param(?:\s+[\w\[\], .]+?)?\s+(\w+)\s*:\s*(.*)$")

Function = Callable[..., Any]


@record
class FunctionSpec:
    """A function as a model is told of it. `parameters` is a JSON Schema of type object."""

    description: str
    parameters: dict[str, Any]


def function_spec(function: Function, hidden: Collection[str] = ()) -> FunctionSpec:
    """Read a function's hints and docstring (Google's style or Sphinx's).

    Args:
        function: any callable with a signature.
        hidden: parameters that the config presets, which the model is not told of.

    Raises:
        ValueError: a hint has no JSON Schema; or a parameter can't be given by name.
    """
    description, words = read_docstring(inspect.getdoc(function) or "")
    hints = hints_of(function)
    fields: dict[str, Any] = {}
    for name, parameter in named_parameters(function).items():
        if name not in hidden:
            hint = hints.get(name, Any)
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (Annotated[hint, Field(description=words.get(name))], default)
    return FunctionSpec(description, _schema(fields))


def named_parameters(function: Function) -> dict[str, inspect.Parameter]:
    """The parameters that can be given by name; `*args` and `**kwargs` are left out.

    Raises:
        ValueError: a required parameter can only be given by position; or the function has no signature.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise ValueError("Python knows no signature of it: give its `parameters`") from None
    named: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise ValueError(f"its parameter {name!r} is positional only: it can't be given by name")
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            named[name] = parameter
    return named


def takes_any_name(function: Function) -> bool:
    """Whether it has `**kwargs`."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _schema(fields: dict[str, Any]) -> dict[str, Any]:
    aliased: dict[str, Any] = {
        f"p{place}_": (hint, Field(default, alias=name)) for place, (name, (hint, default)) in _numbered(fields)
    }
    try:
        schema: dict[str, Any] = TypeAdapter[Any](create_model("Arguments", **aliased)).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ValueError(
            f"a type hint has no JSON Schema: {str(error).splitlines()[0]}; give its `parameters`"
        ) from None
    schema.pop("title", None)
    for part in schema.get("properties", {}).values():
        part.pop("title", None)
    return {"type": "object", "properties": {}, **schema}


def _numbered(fields: dict[str, Any]) -> list[tuple[int, tuple[str, Any]]]:
    """Numbers stand for names: pydantic refuses some names that Python allows, such as `_x` and `copy`."""
    return list(enumerate(fields.items()))


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description (all before the first section), and what is said of each parameter."""
    description: list[str] = []
    words: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        bare = line.strip()
        title = _SECTION.match(bare)
        field = _FIELD.match(bare)
        if title and not line.startswith(" "):
            section, current = title[1], ""
        elif bare.startswith((":param", ":return", ":rtype", ":raises", ":type")):
            section, current = ("Args", field[1]) if field else ("other", "")
            if field:
                words[current] = field[2]
        elif not section:
            description.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            current = _read_parameter(line, current, words)
    return "\n".join(description).strip(), {name: said.strip() for name, said in words.items() if said.strip()}


def _read_parameter(line: str, current: str, words: dict[str, str]) -> str:
    """Take in one line of a section of parameters; returns the parameter that further lines belong to."""
    bare = line.strip()
    found = _PARAMETER.match(bare)
    indent = len(line) - len(line.lstrip())
    if found and indent <= 4:
        words[found[1]] = found[2]
        return found[1]
    if current and bare:
        words[current] += f" {bare}"
    return current
