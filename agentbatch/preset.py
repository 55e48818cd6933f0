"""Values that the config gives to a function: plain ones as they are, texts as templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.templates import Value


class Presets:
    """Named values, made anew for each item.

    Raises:
        TemplateProblem: a text is no valid template.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, *, where: str = "") -> None:
        self._plain: dict[str, Any] = {}
        self._templates: dict[str, Value] = {}
        for name, value in (values or {}).items():
            if isinstance(value, str):
                self._templates[name] = Value(value, where=f"{where}.{name}")
            else:
                self._plain[name] = value

    def of(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """The values for one item.

        Raises:
            TemplateFault, ConditionFault: a template can't be filled in.
        """
        if not self._templates:
            return self._plain
        return {**self._plain, **{name: value.of(names) for name, value in self._templates.items()}}
