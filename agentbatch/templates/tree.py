"""Values of the config with templates in them: a text anywhere inside is a template, everything else stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from jinja2 import Undefined

from agentbatch.templates.template import Value


class TemplateTree:
    """A JSON value, made anew for each item.

    A text that is one bare `{{ expression }}` keeps the type of its value; of a step that has not run it is null.

    Raises:
        TemplateProblem: a text is no valid template.
    """

    def __init__(self, value: Any, *, where: str = "") -> None:
        self._where = where
        self._made = self._compiled(value, where)

    def of(self, names: Mapping[str, Any]) -> Any:
        """The value for one item.

        Raises:
            TemplateFault, ConditionFault: a template can't be filled in.
        """
        return _filled(self._made, names)

    def _compiled(self, value: Any, where: str) -> Any:
        if isinstance(value, str):
            return Value(value, where=where)
        if isinstance(value, Mapping):
            parts = cast("Mapping[str, Any]", value)
            return {key: self._compiled(part, f"{where}.{key}") for key, part in parts.items()}
        if isinstance(value, list):
            return [self._compiled(part, f"{where}[{n}]") for n, part in enumerate(cast("list[Any]", value))]
        return value


def _filled(made: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(made, Value):
        value = made.of(names)
        return None if isinstance(value, Undefined) else value
    if isinstance(made, dict):
        return {key: _filled(part, names) for key, part in cast("dict[str, Any]", made).items()}
    if isinstance(made, list):
        return [_filled(part, names) for part in cast("list[Any]", made)]
    return made
