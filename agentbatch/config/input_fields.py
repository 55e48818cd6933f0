"""The input's fields that the templates need, held against the inputs before a call is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, cast

from agentbatch.config.config import Config
from agentbatch.config.problems import Problem
from agentbatch.config.source import dotted
from agentbatch.config.templates import TemplateUse
from agentbatch.items import Item
from agentbatch.record import record
from agentbatch.text.suggestions import did_you_mean, listing

LOOKED_AT = 1_000
"""Inputs that are enough to say that a field is in none."""
_SHOWN_FIELDS = 20


@record
class InputNeeds:
    """Fields that every item needs, each as a path below `input`, with the template that needs it."""

    fields: Mapping[tuple[str, ...], TemplateUse]

    @classmethod
    def of(cls, config: Config) -> InputNeeds:
        """What the templates read without a guard, in agents that every item comes to."""
        needs: dict[tuple[str, ...], TemplateUse] = {}
        for use in config.templates:
            for reference in sorted(use.found.required) if use.certain else ():
                if reference[0] == "input" and len(reference) > 1:
                    needs.setdefault(reference[1:], use)
        return cls(needs)

    def lacking(self, fields: Any) -> str | None:
        """What to say about a record that lacks a needed field; None where it lacks none."""
        for path, use in self.fields.items():
            if not _has(fields, path):
                hint = did_you_mean(path[0], _names(fields)) if len(path) == 1 else ""
                return f"no field {'.'.join(path)!r}, which {dotted(use.path)} needs{hint}"
        return None


def missing_fields(config: Config, items: Iterable[Item]) -> list[Problem]:
    """Fields that a template needs and that none of the first thousand inputs has: a typo, or the wrong file."""
    needs = InputNeeds.of(config).fields
    missing = set(needs)
    seen: dict[str, None] = {}
    count = 0
    for item in islice(items, LOOKED_AT):
        count += 1
        missing = {path for path in missing if not _has(item.fields, path)}
        seen |= dict.fromkeys(_names(item.fields))
    if not count or config.origin is None:
        return []
    return [_problem(config, path, needs[path], list(seen)) for path in sorted(missing)]


def _problem(config: Config, path: tuple[str, ...], use: TemplateUse, seen: list[str]) -> Problem:
    assert config.origin is not None
    reference = ("input", *path)
    hint = did_you_mean(path[0], seen).lstrip(", ") if path[0] not in seen else ""
    if not hint:
        hint = f"their fields: {listing(seen, _SHOWN_FIELDS)}" if seen else "the inputs are texts, not objects"
    message = f"no input has the field {'.'.join(path)!r}"
    line = use.found.lines[reference]
    return config.origin.problem(use.path, message, hint=hint, line=line, word=".".join(reference))


def _names(fields: Any) -> list[str]:
    return [str(key) for key in cast("Mapping[Any, Any]", fields)] if isinstance(fields, Mapping) else []


def _has(fields: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(fields, Mapping):
            return False
        mapping = cast("Mapping[str, Any]", fields)
        if part not in mapping:
            return False
        fields = mapping[part]
    return True
