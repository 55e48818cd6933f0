"""Fields of answers that templates read, held against the agents' `output_schema`; without one, an answer is text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from agentbatch.agents.asking import AskingConfig
from agentbatch.config.problems import Problem
from agentbatch.config.source import Origin
from agentbatch.config.templates import TemplateUse
from agentbatch.text.suggestions import did_you_mean, listing

_MORE_THAN_PROPERTIES = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"}
)
"""Keywords that may allow properties which `properties` does not list."""


def answer_field_problems(uses: Sequence[TemplateUse], agents: Mapping[str, Any], origin: Origin) -> Iterator[Problem]:
    """Fields that no answer can have. `agents` are the config's, as objects."""
    yield from _looked_at(uses, agents, origin, _lacking_in_schema)


def answer_field_notes(uses: Sequence[TemplateUse], agents: Mapping[str, Any], origin: Origin) -> Iterator[str]:
    """Fields of answers that have none: where the agent is skipped they are empty, where it runs they are an error."""
    for problem in _looked_at(uses, agents, origin, _of_no_object):
        yield f"{problem.headline}: {problem.hint}"


def _looked_at(
    uses: Sequence[TemplateUse],
    agents: Mapping[str, Any],
    origin: Origin,
    said_of: Callable[[str, AskingConfig, Sequence[str], bool], tuple[str, str] | None],
) -> Iterator[Problem]:
    for use in uses:
        for reference, line in sorted(use.found.lines.items()):
            agent = agents.get(reference[0])
            if reference[1:2] != ("output",) or len(reference) < 3 or not isinstance(agent, AskingConfig):
                continue
            if agent.fallback or not isinstance(agent.on_error, str):
                continue  # what stands in for the answer may have other fields
            said = said_of(reference[0], agent, reference[2:], reference in use.found.required)
            if said is not None:
                message, hint = said
                yield origin.problem(use.path, message, hint=hint, line=line, word=".".join(reference))


def _of_no_object(name: str, agent: AskingConfig, fields: Sequence[str], _: bool) -> tuple[str, str] | None:
    if agent.for_each is not None:
        mend = f"write {name}.output[0].{fields[0]}, or {name}.output | map(attribute='{fields[0]}') | list"
        return f"{name}.output is a list, as {name} runs for_each element: it has no field {fields[0]!r}", mend
    if agent.output_schema is None:
        mend = f"give {name} an output_schema that has the property"
        return f"{name}.output is a text: it has no field {fields[0]!r}", mend
    return None


def _lacking_in_schema(name: str, agent: AskingConfig, fields: Sequence[str], required: bool) -> tuple[str, str] | None:
    if agent.output_schema is None or agent.for_each is not None:
        return None
    lacking = _lacking(agent.output_schema, fields, guarded=not required)
    if lacking is None:
        return None
    field, known = lacking
    there_are = f"its properties: {listing(known, 20)}"
    return f"no property {field!r} in the output_schema of {name}", did_you_mean(field, known).lstrip(", ") or there_are


def _lacking(schema: Mapping[str, Any], fields: Sequence[str], *, guarded: bool) -> tuple[str, list[str]] | None:
    """The first field that the schema does not list, and those that it does; None as soon as it can't be told."""
    for field in fields:
        known = schema.get("properties")
        if not isinstance(known, dict) or _MORE_THAN_PROPERTIES & schema.keys():
            return None
        properties = cast("dict[str, Any]", known)
        if field not in properties:
            closed = schema.get("additionalProperties", None if guarded else False) is False
            return (field, list(properties)) if closed else None
        if not isinstance(properties[field], dict):
            return None
        schema = properties[field]
    return None
