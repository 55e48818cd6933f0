"""Where a key belongs that stands in a section which has no such key."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from pydantic import BaseModel

from agentbatch import agents, flows, models, tools
from agentbatch.agents.base import AgentConfig
from agentbatch.config.meanings import keys_of, sections_in
from agentbatch.flows.base import GroupConfig
from agentbatch.models.base import ModelConfig
from agentbatch.text.suggestions import listing
from agentbatch.tools.base import ToolConfig

_PARAMS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "stop",
        "reasoning_effort",
        "presence_penalty",
        "frequency_penalty",
    }
)
"""What many tools let one set beside the model; here it is sent as it is."""


def place_of_key(key: str, kind: type[BaseModel], whole: type[BaseModel]) -> str:
    """Which kind of section has the key, in a few words; empty where none has. `whole` is the class of the config."""
    if key in _PARAMS and "params" in keys_of(kind):
        return f"it is sent to the model as it is: params: {{{key}: ...}}"
    for noun, kinds in _families(kind):
        having = [name for name, each in kinds if key in keys_of(each)]
        if having:
            return f"{key!r} is a key of {noun} {listing(having)}"
    if issubclass(kind, ModelConfig | AgentConfig | GroupConfig | ToolConfig):
        others = {"models": ModelConfig, "agents": AgentConfig, "groups": GroupConfig}
        return next((f"{key!r} is a key of {name}" for name, each in others.items() if key in keys_of(each)), "")
    sections = [(name, each) for name, field in keys_of(whole).items() for each in sections_in(field.annotation)]
    of_section = next((name for name, each in sections if each is not kind and key in keys_of(each)), None)
    return "" if of_section is None else f"{key!r} is a key of `{of_section}`"


def _families(kind: type[BaseModel]) -> Iterator[tuple[str, list[tuple[str, type[BaseModel]]]]]:
    """The kinds that the section might have been instead, by name."""
    if issubclass(kind, AgentConfig):
        yield "kind", [(name, _class_of(entry)) for name, entry in agents.KINDS.items()]
    if issubclass(kind, GroupConfig):
        names = flows.KIND_NAMES
        yield "groups of kind", [(names.get(name, name), _class_of(entry)) for name, entry in flows.KINDS.items()]
    if issubclass(kind, ModelConfig):
        yield "provider", [(name, models.config_class(name)) for name in models.PROVIDERS]
    if issubclass(kind, ToolConfig):
        yield "tools with", [(name, tools.config_class(name)) for name in tools.KINDS]


def _class_of(entry: tuple[str, str]) -> type[BaseModel]:
    return getattr(import_module(entry[0]), entry[1])
