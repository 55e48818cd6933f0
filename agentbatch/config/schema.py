"""The JSON Schema of the config, for editors: made of the very classes that check it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Union, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from agentbatch import agents, flows, models, tools
from agentbatch.config.config import Config
from agentbatch.config.field_docs import all_sections, field_docs
from agentbatch.config.spellings import SPELLINGS
from agentbatch.settings import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}


class _WithoutTitles(GenerateJsonSchema):
    """A key's name with a capital letter is no news to anybody."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The schema of a config file, of JSON Schema draft 2020-12."""
    groups = [_class_of(entry) for entry in flows.KINDS.values()]
    agent_kinds = [_class_of(entry) for entry in agents.KINDS.values()]
    providers = [models.config_class(provider) for provider in models.PROVIDERS]
    tool_kinds = [tools.config_class(kind) for kind in tools.KINDS]
    everything: Any = Union[(Config, *providers, *tool_kinds, *agent_kinds, *groups)]  # made at run time
    whole: dict[str, Any] = TypeAdapter[Any](everything).json_schema(
        ref_template="#/$defs/{model}", schema_generator=_WithoutTitles
    )
    defs: dict[str, Any] = whole["$defs"]
    defs["GroupConfig"] = _any_of(kind.__name__ for kind in groups)
    config: dict[str, Any] = defs.pop("Config")
    sections = {"models": providers, "tools": tool_kinds, "agents": agent_kinds, "groups": groups}
    for section, kinds in sections.items():
        config["properties"][section]["additionalProperties"] = _any_of(kind.__name__ for kind in kinds)
        if section in ("agents", "groups"):
            config["properties"][section]["propertyNames"] = _NAMES
    for name, kind in all_sections().items():
        section = config if name == "Config" else defs.get(name)
        if section is not None:
            _describe(section, kind)
    for section in defs.values():
        _allow_variables(section)
    return {"$schema": _DIALECT, **config, "title": "agentbatch config", "$defs": defs}


def _describe(section: dict[str, Any], kind: type[Settings]) -> None:
    docs = field_docs(kind)
    for name, field in kind.model_fields.items():
        described = section.get("properties", {}).get(field.alias or name)
        if described is not None and name in docs:
            described["description"] = docs[name]


def _class_of(entry: tuple[str, str]) -> Any:
    return getattr(import_module(entry[0]), entry[1])


def _any_of(names: Any) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}


_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def _allow_variables(section: dict[str, Any]) -> None:
    """A number or a switch may be written as `${VAR}`; and keys may be spelled as other tools do."""
    properties: dict[str, Any] = section.get("properties", {})
    for key, value in properties.items():
        kinds = {arm.get("type") for arm in cast("list[dict[str, Any]]", value.get("anyOf", [value]))}
        if kinds & {"integer", "number", "boolean"} and "string" not in kinds:
            notes = {note: value.pop(note) for note in ("title", "description", "default") if note in value}
            properties[key] = {"anyOf": [*value.get("anyOf", [value]), _VARIABLE], **notes}
    for other, ours in SPELLINGS.items():
        if ours in properties and other not in properties:
            properties[other] = {**properties[ours], "deprecated": True, "description": f"Another spelling of {ours}."}
