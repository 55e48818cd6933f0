"""The README's tables of config keys and of commands, made of the very classes and functions that they describe.

`python tests/readme_tables.py` writes them into README.md; a test fails while they differ.
"""

import inspect
import types
from collections.abc import Iterable, Iterator
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo, OptionInfo

from agentbatch import agents, flows, models, tools
from agentbatch.agents.base import AgentConfig
from agentbatch.checks.config import ThresholdConfig
from agentbatch.cli.app import app
from agentbatch.cli.variables import CommandWithVariables, variable_of
from agentbatch.config import Config, Limits
from agentbatch.config.field_docs import field_docs
from agentbatch.config.spellings import SPELLINGS
from agentbatch.flows.base import GroupConfig, MemberConfig
from agentbatch.models.base import HttpModelConfig, ModelConfig
from agentbatch.settings import Meaning, Settings
from agentbatch.step_config import StepConfig
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.mcp_config import McpServerConfig

README = Path(__file__).parent.parent / "README.md"

Section = type[Settings]

_MEANINGS = {
    "template": "template",
    "condition": "condition",
    "model": "name of a model",
    "step": "name of a step",
    "earlier": "name of a step",
    "tool": "name of a tool",
}
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything", SecretStr: "text"}


def config_reference() -> str:
    """Every section and key of a config."""
    return "\n\n".join([*_whole_config(), *_models(), *_tools(), *_steps(), *_spellings()])


def command_reference() -> str:
    """Every command with its options."""
    return "\n\n".join(_commands(app, "agentbatch"))


PARTS = {"config reference": config_reference, "command reference": command_reference}


def filled_in(readme: str) -> str:
    """The README with every part between its marks as it should be."""
    for name, write in PARTS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found_begin, rest = readme.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"README.md has no place for its {name}")
        readme = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
    return readme


def _whole_config() -> Iterator[str]:
    yield "### The whole file"
    yield _table(Config)
    for key, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield f"#### `{key}`"
            yield _table(field.annotation)
    yield "#### A mapping under `thresholds`"
    yield _table(ThresholdConfig)
    yield from _mappings_in([Limits])


def _models() -> Iterator[str]:
    providers = {provider: models.config_class(provider) for provider in models.PROVIDERS}
    yield "### `models`"
    yield "Every model:"
    yield _table(ModelConfig)
    yield "Every model behind HTTP, which are all but `mock`:"
    yield _table(HttpModelConfig, beyond=ModelConfig)
    for provider, kind in providers.items():
        yield f"#### `provider: {provider}`"
        yield _table(kind, beyond=HttpModelConfig if issubclass(kind, HttpModelConfig) else ModelConfig)
    yield from _mappings_in([ModelConfig, HttpModelConfig, *providers.values()])


def _tools() -> Iterator[str]:
    kinds = {kind: tools.config_class(kind) for kind in tools.KINDS}
    yield "### `tools`"
    yield "Every tool:"
    yield _table(ToolConfig)
    for kind, section in kinds.items():
        yield f"#### A tool with `{kind}`"
        yield _table(section, beyond=ToolConfig)
    yield from _mappings_in([ToolConfig, *kinds.values()])
    yield "### `mcp_servers`"
    yield _table(McpServerConfig)


def _steps() -> Iterator[str]:
    agent_kinds = {kind: _class_of(entry) for kind, entry in agents.KINDS.items()}
    group_kinds = {kind: _class_of(entry) for kind, entry in flows.KINDS.items()}
    yield "### `agents` and `groups`"
    yield (
        "A *step* is the name of an agent or a group, `{agent: NAME, copies: N}`, or a group written in place. Every "
        "agent and every group has:"
    )
    yield _table(StepConfig)
    yield "Every agent also has:"
    yield _table(AgentConfig, beyond=StepConfig)
    for kind, section in agent_kinds.items():
        yield f"#### An agent with `kind: {kind}`"
        yield _table(section, beyond=AgentConfig)
    yield "#### Every group"
    yield _table(GroupConfig, beyond=StepConfig)
    for kind, section in sorted(group_kinds.items()):
        yield f"#### A group with `{kind}`"
        yield _table(section, beyond=GroupConfig)
    yield from _mappings_in([StepConfig, AgentConfig, *agent_kinds.values(), GroupConfig, *group_kinds.values()])


def _spellings() -> Iterator[str]:
    yield "### Other spellings"
    yield "Keys as other tools spell them are read as ours, with a note: " + ", ".join(
        f"`{other}` (`{ours}`)" for other, ours in SPELLINGS.items()
    )


def _mappings_in(sections: Iterable[Section]) -> Iterator[str]:
    """Tables of the mappings that stand under keys of these sections."""
    seen: dict[Section, str] = {}
    waiting = list(sections)
    for section in waiting:
        for key, field in section.model_fields.items():
            for inner in _settings_in(field.annotation):
                if inner not in seen and not issubclass(inner, StepConfig):
                    seen[inner] = field.alias or key
                    waiting.append(inner)
    for section, key in seen.items():
        doc = (section.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")
        yield f"#### A mapping under `{key}`: `{{{', '.join(_keys(section))}}}`" + (f"\n\n{doc}" if doc else "")
        yield _table(section)


def _settings_in(annotation: Any) -> Iterator[Section]:
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, Settings):
        yield annotation
    for part in get_args(annotation):
        yield from _settings_in(part)


def _class_of(entry: tuple[str, str]) -> Any:
    return getattr(import_module(entry[0]), entry[1])


def _keys(section: Section) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _table(section: Section, beyond: Section | None = None) -> str:
    """A row per key; without those that `beyond` has and the section leaves as they are."""
    docs, known = field_docs(section), field_docs(beyond) if beyond else {}
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        inherited = beyond is not None and name in beyond.model_fields
        if inherited and docs.get(name) == known.get(name):
            continue
        cells = (f"`{field.alias or name}`", _value(field), _default(field), docs.get(name, ""))
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ([], {}, (), "") or isinstance(value, Settings):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value!r}`".replace("'", "")


def _value(field: FieldInfo) -> str:
    return _words(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


def _words(annotation: Any) -> str:
    """A type as a person would say it."""
    if isinstance(annotation, str):
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated_words(arguments[0], arguments[1:])
    if origin is Union or origin is types.UnionType:
        if MemberConfig in arguments:  # with the name and the group written in place that always go with it
            arguments = ("step", *arguments[arguments.index(GroupConfig) + 1 :])
        return " or ".join(dict.fromkeys(_words(arm) for arm in arguments if arm is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of: {_words(arguments[0])}"
    if origin is dict:
        inner = _words(arguments[1])
        return "mapping" if inner == "anything" else f"mapping to: {inner}"
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    return "mapping (below)" if isinstance(annotation, type) and issubclass(annotation, Settings) else "anything"


def _annotated_words(inner: Any, marks: tuple[Any, ...]) -> str:
    for mark in marks:
        if isinstance(mark, Meaning):
            return _MEANINGS[mark.of]
        if isinstance(mark, BeforeValidator) and inner is float:
            return "duration"
    return _words(inner)


def _commands(verbs: typer.Typer, program: str) -> Iterator[str]:
    for command in verbs.registered_commands:
        function: Any = command.callback
        has_variables = isinstance(command.cls, type) and issubclass(command.cls, CommandWithVariables)
        yield from _command(function, f"{program} {command.name or function.__name__}", has_variables)
    for group in verbs.registered_groups:
        if group.typer_instance is not None and group.typer_instance.info.hidden is not True:
            yield from _commands(group.typer_instance, f"{program} {group.name}")


def _command(function: Any, words: str, has_variables: bool) -> Iterator[str]:
    hints = get_type_hints(function, include_extras=True)
    given = [each for each in signature(function).parameters.items() if hints[each[0]] is not typer.Context]
    found = [(name, *get_args(hints[name])[:2], each.default) for name, each in given]
    options = [each for each in found if isinstance(each[2], OptionInfo)]
    arguments = [_argument(*each) for each in found if isinstance(each[2], ArgumentInfo)]
    yield f"### `{' '.join([words, *arguments])}`"
    yield inspect.cleandoc(function.__doc__)
    if options:
        yield "\n".join(
            [
                "| option | meaning | default | environment |",
                "|---|---|---|---|",
                *(_option(*each, has_variables) for each in options),
            ]
        )


def _argument(name: str, _: Any, info: Any, default: Any) -> str:
    if info.metavar:
        return info.metavar
    return name.upper() if default is Parameter.empty else f"[{name.upper()}]"


def _option(name: str, annotation: Any, info: Any, default: Any, has_variables: bool) -> str:
    # the first spelling is kept where a default would stand without Annotated
    given = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("-")]
    names = "/".join(given or [f"--{name.replace('_', '-')}"]).split("/")
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    is_flag = annotation in (bool, bool | None)
    value = "" if is_flag else f" {'/'.join(choices) or names[-1].strip('-').replace('-', '_').upper()}"
    shown = "required" if default is Parameter.empty else "" if default is None or default is False else f"`{default}`"
    others = [each.partition("/")[2] for each in given if "/" in each]
    variables = [variable_of(each) for each in (names, others) if each] if has_variables else [info.envvar]
    cells = (*(", ".join(f"`{each}`" for each in listed if each) for listed in (names, variables)),)
    cells = (cells[0] + value, info.help, shown, cells[1])
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


if __name__ == "__main__":
    README.write_text(filled_in(README.read_text("utf-8")), "utf-8")
