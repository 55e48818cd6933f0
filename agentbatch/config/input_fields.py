"""The input's fields that the templates need, held against the inputs before a call is paid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
_NOT_THERE: Any = object()
_LISTS = "the input is a list; for an item of each of its elements: jq -c '.[]' FILE > lines.jsonl"
Path = tuple[str, ...]


@record
class InputNeeds:
    """What every item needs, by the template that needs it: fields, each as a path below `input`, and lists."""

    fields: Mapping[Path, TemplateUse]
    lists: Mapping[Path, TemplateUse]

    @classmethod
    def of(cls, config: Config) -> InputNeeds:
        """What the templates always read without a guard, in agents that every item comes to."""
        certain = [use for use in config.templates if use.certain]
        return cls(_first_uses(certain, lambda use: _below_input(use.found.always)), _first_uses(certain, _mapped))

    def lacking(self, fields: Any) -> str | None:
        """What to say about a record that lacks a needed field; None where it lacks none."""
        for path, use in self.fields.items():
            if not _has(fields, path):
                hint = did_you_mean(path[0], _names(fields)) if len(path) == 1 else ""
                hint = f"; {_LISTS}" if isinstance(fields, list) else hint
                return f"no field {'.'.join(path)!r}, which {dotted(use.path)} needs{hint}"
        for path, use in self.lists.items():
            value = _at(fields, path)
            if not isinstance(value, list):
                return f"{'.'.join(('input', *path))} is {_noun(value)}, and {dotted(use.path)} needs a list"
        return None


def missing_fields(config: Config, items: Iterable[Item]) -> list[Problem]:
    """Fields that a template needs and that none of the first thousand inputs has: a typo, or the wrong file."""
    certain = [use for use in config.templates if use.certain]
    needs = _first_uses(certain, lambda use: _below_input(use.found.required))
    missing = set(needs)
    seen: dict[str, None] = {}
    count = lists = 0
    for item in islice(items, LOOKED_AT):
        count += 1
        lists += isinstance(item.fields, list)
        missing = {path for path in missing if not _has(item.fields, path)}
        seen |= dict.fromkeys(_names(item.fields))
    if not count or config.origin is None:
        return []
    told = _LISTS if lists == count else "the inputs are texts, not objects"
    return [_problem(config, path, needs[path], list(seen), told) for path in sorted(missing)]


def _problem(config: Config, path: tuple[str, ...], use: TemplateUse, seen: list[str], otherwise: str) -> Problem:
    assert config.origin is not None
    reference = ("input", *path)
    hint = did_you_mean(path[0], seen).lstrip(", ") if path[0] not in seen else ""
    if not hint:
        hint = f"their fields: {listing(seen, _SHOWN_FIELDS)}" if seen else otherwise
    message = f"no input has the field {'.'.join(path)!r}"
    line = use.found.lines[reference]
    return config.origin.problem(use.path, message, hint=hint, line=line, word=".".join(reference))


def _names(fields: Any) -> list[str]:
    return [str(key) for key in cast("Mapping[Any, Any]", fields)] if isinstance(fields, Mapping) else []


def _first_uses(uses: Iterable[TemplateUse], needs: Callable[[TemplateUse], Iterable[Path]]) -> dict[Path, TemplateUse]:
    """For each path that the templates need, the first template that does."""
    found: dict[Path, TemplateUse] = {}
    for use in uses:
        for path in needs(use):
            found.setdefault(path, use)
    return found


def _below_input(references: Iterable[Path]) -> list[Path]:
    """Fields of the input among what a template reads, as paths below it."""
    return [path[1:] for path in sorted(references) if path[0] == "input" and len(path) > 1]


def _mapped(use: TemplateUse) -> list[Path]:
    """The part of the input that a `for_each` takes for a list, as it stands there."""
    if use.path[-1] != "for_each":
        return []
    bare = use.text.strip().removeprefix("{{").removesuffix("}}").strip()
    return [path[1:] for path in use.found.always if path[0] == "input" and ".".join(path) == bare]


def _noun(value: Any) -> str:
    if value is None:
        return "null"
    return "a text" if isinstance(value, str) else "an object" if isinstance(value, Mapping) else "no list"


def _has(fields: Any, path: Path) -> bool:
    return _at(fields, path, _NOT_THERE) is not _NOT_THERE


def _at(fields: Any, path: Path, otherwise: Any = None) -> Any:
    for part in path:
        if not isinstance(fields, Mapping) or part not in fields:
            return otherwise
        fields = cast("Mapping[str, Any]", fields)[part]
    return fields
