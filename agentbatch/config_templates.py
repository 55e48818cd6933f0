"""The config's templates and conditions before any item comes: do they compile, and is every name they read one?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields

from agentbatch.config_meanings import MeantText
from agentbatch.config_problems import Problem
from agentbatch.config_source import Origin, dotted
from agentbatch.items import Result
from agentbatch.suggestions import did_you_mean, listing
from agentbatch.template_references import References
from agentbatch.templates import Condition, Template, TemplateProblem
from agentbatch.yaml_tree import Path

ITEM_FIELDS = ("id", "index")
STEP_FIELDS = ("output", "error", "status")
"""What templates are told to read of a step; it has more."""
_ALL_STEP_FIELDS = frozenset(field.name for field in fields(Result)) | {"ok"}
ALWAYS_THERE = ("input", "item", "members")
"""Names that belong to no step. `members` are the results that a group's judge sees."""


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A template or condition in its place, with what it reads. `certain`: every item comes there."""

    path: Path
    found: References
    certain: bool = True


@dataclass(frozen=True, slots=True)
class StepNames:
    """The names that templates may read: every agent and group, and those that run in loops and so see themselves."""

    steps: Collection[str]
    looped: Collection[str] = ()


def compiled(text: MeantText, origin: Origin) -> References | Problem:
    """What a template or condition reads, or why it can't be compiled."""
    variable = origin.from_environment(text.path)
    if variable is not None and any("{" + mark in value for value in variable.variables.values() for mark in "{%#"):
        return origin.problem(text.path, f"the value of {listing(variable.variables)} holds template braces")
    where = dotted(text.path)
    try:
        made = Condition(text.text, where=where) if text.of == "condition" else Template(text.text, where=where)
    except TemplateProblem as error:
        return origin.problem(text.path, str(error), line=error.line)
    return made.found


def reference_problems(path: Path, found: References, names: StepNames, origin: Origin) -> Iterator[Problem]:
    """Names that a template reads and that can't be there, whatever the item."""
    for reference, line in sorted(found.lines.items()):
        said = _said(path, reference, found, names)
        if said is not None:
            message, hint = said
            yield origin.problem(path, message, hint=hint, line=line, word=_word(reference, message))


def _word(reference: tuple[str, ...], message: str) -> str:
    """What to point at: the whole path as it is probably written, or its first name."""
    return ".".join(reference[:2]) if message.startswith("no field") else reference[0]


def _said(path: Path, reference: tuple[str, ...], found: References, names: StepNames) -> tuple[str, str] | None:
    """Message and hint about one reference, if something is wrong with it."""
    name, *rest = reference
    if name in names.steps:
        return _said_of_step(path, reference, found, names)
    if name not in ALWAYS_THERE:
        known = (*names.steps, *ALWAYS_THERE[:2])
        hint = did_you_mean(name, known).lstrip(", ") or f"there are: {listing(known, 20)}"
        return f"unknown name {name!r}", hint
    if name == "item" and rest and rest[0] not in ITEM_FIELDS:
        return f"no field {rest[0]!r} in item", "an item has item.id and item.index; the record's fields are input.NAME"
    return None


def _said_of_step(
    path: Path, reference: tuple[str, ...], found: References, names: StepNames
) -> tuple[str, str] | None:
    name, *rest = reference
    if not rest:
        mend = f"write {name}.output, {name}.error or {name}.status"
        return (f"{name!r} is a step, not a value", mend) if reference in found.required else None
    if rest[0] not in _ALL_STEP_FIELDS:
        fields_there = f"a step has {listing(STEP_FIELDS)}"
        nearest = did_you_mean(rest[0], STEP_FIELDS).lstrip(", ")
        return (
            f"no field {rest[0]!r} in {name}",
            nearest or f"{fields_there}; its answer's fields: {name}.output.{rest[0]}",
        )
    if path[:2] == ("agents", name) and name not in names.looped:
        return f"{name!r} reads its own {rest[0]}", "an agent sees its own last answer in a loop only"
    return None
