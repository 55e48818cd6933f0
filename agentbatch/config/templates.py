"""The config's templates and conditions before any item comes: do they compile, and is every name they read one?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, fields

from agentbatch.config.meanings import MeantText
from agentbatch.config.problems import Problem
from agentbatch.config.source import Origin, dotted
from agentbatch.config.steps import owner_of
from agentbatch.config.yaml_tree import Path
from agentbatch.items import Result
from agentbatch.record import record
from agentbatch.templates import Condition, Template, TemplateProblem
from agentbatch.templates.references import References
from agentbatch.text.suggestions import did_you_mean, listing

_FIELDS = {"item": ("id", "index"), "each": ("value", "index"), "loop": ("index", "history")}
_FIELDS_TOLD = {
    "item": "an item has item.id and item.index; the record's fields are input.NAME",
    "each": "each.value is the element, each.value.NAME a field of it, each.index its place",
    "loop": "loop.index counts the iterations from 1, loop.history holds those that ended",
}
"""What the names that agentbatch makes hold."""
STEP_FIELDS = ("output", "error", "status")
"""What templates are told to read of a step; it has more."""
_ALL_STEP_FIELDS = frozenset(field.name for field in fields(Result)) | {"ok", "fine"}
ALWAYS_THERE = ("input", "item", "vars")
"""Names that belong to no step, and are everywhere."""
SOMETIMES_THERE = {
    "args": "only tools, and agents that are another one's tools, know `args`",
    "loop": "only what runs in a loop, and the loop's own conditions, know `loop`",
    "each": "only what runs for_each element knows `each`",
    "members": "only a parallel group's judge knows its `members`",
    "output": "only `set`, `checks` and their judges, `fallback.when`, `poll`, and a group's `best` and `vote` know "
    "`output`: elsewhere write NAME.output",
    "judgement": "only a judge's `score` knows its `judgement`",
}


_OF_STEPS = "an agent's or a group's answer goes by its name, as NAME.output; "
_OF_INPUT = "the fields of the input line are input.NAME; "
_ELSEWHERE = {
    **dict.fromkeys(("parallel", "sequence", "graph", "steps", "step", "outputs", "results", "nodes"), _OF_STEPS),
    **dict.fromkeys(("agents", "groups", "tasks", "previous", "prev", "last", "response", "answer"), _OF_STEPS),
    **dict.fromkeys(("row", "record", "data", "line", "example", "prompt", "text", "question"), _OF_INPUT),
    **dict.fromkeys(("env", "environ"), "a variable of the environment is ${NAME}; "),
}
"""What goes by another name here than elsewhere."""


@record
class TemplateUse:
    """A template or condition in its place, with what it reads. `certain`: every item comes there."""

    path: Path
    text: str
    found: References
    certain: bool = True


@record
class SomeSteps:
    """The steps that see a name, and those of all steps that the workflow comes to without it."""

    seeing: Collection[str] = ()
    without: Collection[str] = ()


@record
class NamesThere:
    """The names that templates may read, and which steps see those that are there only sometimes.

    Attributes:
        steps: every agent and group.
        variables: what `vars` may hold: those of the config, and those that steps set.
        sometimes: who sees `loop` (and its own last answer), `each`, `members`, `args`, and `output`, what checks see.
        arguments: what `args` holds in a tool's own templates, for the tools that say it.
    """

    steps: Collection[str]
    variables: Collection[str] = ()
    sometimes: Mapping[str, SomeSteps] = field(default_factory=dict[str, SomeSteps])
    arguments: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])

    def in_a_loop(self, step: str) -> bool:
        """Whether a step runs in a loop."""
        return step in self.sometimes.get("loop", SomeSteps()).seeing

    def only_sometimes(self, path: Path, name: str) -> bool:
        """Whether the template at `path` sees a name in some runs of its step, and in others not."""
        owner = owner_of(path)
        some = self.sometimes.get(name, SomeSteps())
        return owner in some.seeing and owner in some.without and name not in _there_by_place(path)

    def at(self, path: Path) -> frozenset[str]:
        """Names that belong to no step and are there for the template at `path`."""
        owner = owner_of(path)
        seen = {name for name, some in self.sometimes.items() if owner in some.seeing}
        return frozenset({*ALWAYS_THERE, *seen, *_there_by_place(path)})


def _there_by_place(path: Path) -> frozenset[str]:
    """Names that are there for a template because of the key that it stands under."""
    found: set[str] = set()
    if "loop" in path or (path[-1] in ("until", "while") and "poll" not in path):
        found.add("loop")
    if path[0] == "tools":
        found.add("args")
    if (path[-1] == "when" and path[-2] == "fallback") or {"set", "poll"} & set(path[2:-1]) or "checks" in path:
        found.add("output")
    if "checks" in path and path[-1] == "score":
        found.add("judgement")
    if "aggregate" in path and path[-1] in ("best", "by"):
        found |= {"output", "name", "status"}
    return frozenset(found)


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


def reference_problems(path: Path, found: References, names: NamesThere, origin: Origin) -> Iterator[Problem]:
    """Names that a template reads and that can't be there, whatever the item."""
    there = names.at(path)
    for reference, line in sorted(found.lines.items()):
        said = _said(path, reference, found, names, there)
        if said is not None:
            message, hint = said
            word = ".".join(reference[:2]) if message.startswith("no field") else reference[0]
            yield origin.problem(path, message, hint=hint, line=line, word=word)


def _said(
    path: Path, reference: tuple[str, ...], found: References, names: NamesThere, there: Collection[str]
) -> tuple[str, str] | None:
    """Message and hint about one reference, if something is wrong with it."""
    name, *rest = reference
    if path[0] == "vars" and name in names.steps:
        return (
            f"{name!r} has not run yet when `vars` are computed",
            "let the step leave it for later ones: set: {NAME: ...}",
        )
    if reference in found.required and names.only_sometimes(path, name):
        return f"{owner_of(path)!r} also runs where there is no {name!r}", SOMETIMES_THERE[name]
    if name not in there:
        return _said_of_step(path, reference, found, names) if name in names.steps else _unknown(name, names, there)
    if name == "args" and path[0] == "tools" and rest and rest[0] not in names.arguments.get(str(path[1]), rest):
        known = names.arguments[str(path[1])]
        there_are = f"there are: {listing(known, 20)}" if known else "the tool has no `parameters`"
        return f"no field {rest[0]!r} in args", did_you_mean(rest[0], known).lstrip(", ") or there_are
    if name in _FIELDS and rest and rest[0] not in _FIELDS[name]:
        known, told = _FIELDS[name], _FIELDS_TOLD[name]
        return f"no field {rest[0]!r} in {name}", did_you_mean(rest[0], known).lstrip(", ") or told
    if name == "vars" and rest and rest[0] not in names.variables:
        known = f"there are: {listing(names.variables, 20)}" if names.variables else "nothing sets a variable"
        return f"no field {rest[0]!r} in vars", did_you_mean(rest[0], names.variables).lstrip(", ") or known
    return None


def _unknown(name: str, names: NamesThere, there: Collection[str]) -> tuple[str, str]:
    if name in SOMETIMES_THERE:
        return f"{name!r} is not known here", SOMETIMES_THERE[name]
    known = (*names.steps, *sorted(there))
    there_are = f"there are: {listing(known, 20)}"
    hint = did_you_mean(name, known).lstrip(", ") or f"{_ELSEWHERE.get(name, '')}{there_are}"
    return f"unknown name {name!r}", hint


def _said_of_step(
    path: Path, reference: tuple[str, ...], found: References, names: NamesThere
) -> tuple[str, str] | None:
    name, *rest = reference
    if not rest:
        mend = f"write {name}.output, {name}.error or {name}.status"
        return (f"{name!r} is a step, not a value", mend) if reference in found.required else None
    if rest[0] not in _ALL_STEP_FIELDS:
        nearest = did_you_mean(rest[0], STEP_FIELDS).lstrip(", ")
        fields_there = f"a step has {listing(STEP_FIELDS)}; its answer's fields: {name}.output.{rest[0]}"
        return f"no field {rest[0]!r} in {name}", nearest or fields_there
    if path[:2] == ("agents", name) and not names.in_a_loop(name) and not {"set", "fallback", "checks"} & set(path[2:]):
        return f"{name!r} reads its own {rest[0]}", "an agent sees its own last answer in a loop only"
    return None
