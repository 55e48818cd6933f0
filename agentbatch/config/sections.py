"""Every section of a config against the class of its kind, and then against the others: names, templates, keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel

from agentbatch import agents, flows, models, tools
from agentbatch.agents.base import AgentConfig
from agentbatch.agents.function import FunctionConfig
from agentbatch.config.answer_fields import answer_field_notes, answer_field_problems
from agentbatch.config.config import Config
from agentbatch.config.flows import flow_findings
from agentbatch.config.functions import with_named_arguments
from agentbatch.config.key_places import place_of_key
from agentbatch.config.keys import KeyCheck, with_variables
from agentbatch.config.meanings import MeantText, keys_of, meant_texts
from agentbatch.config.problems import Problem
from agentbatch.config.prompt_files import is_file_reference, read_prompt_file
from agentbatch.config.section import Section, checked
from agentbatch.config.source import NAMED_SECTIONS, Origin
from agentbatch.config.spellings import respelled
from agentbatch.config.steps import ROOT, StepGraph, circles, owner_of, unknown_names
from agentbatch.config.templates import (
    ALWAYS_THERE,
    SOMETIMES_THERE,
    NamesThere,
    SomeSteps,
    TemplateUse,
    compiled,
    reference_problems,
)
from agentbatch.config.tools import argument_names, delegations, only_elsewhere, tool_name_problems
from agentbatch.config.yaml_tree import Path
from agentbatch.flows.base import GroupConfig
from agentbatch.placement import Placement, placement_of
from agentbatch.record import record
from agentbatch.settings import NAME_PATTERN, Grounded
from agentbatch.templates.references import References
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.mcp_config import McpServerConfig
from agentbatch.transports.function_source import function_like

if TYPE_CHECKING:
    from agentbatch.models.base import ModelConfig
    from agentbatch.tools.base import ToolConfig

_RESERVED = frozenset({*ALWAYS_THERE, *SOMETIMES_THERE})
_MAYBE = frozenset({"when", "for_each", "route", "then", "while", "success", "on_error"})
"""Keys of a step that not every item need come through whole."""
_JINJA_WORDS = frozenset(
    {"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"}
)
_PLAIN_BRACES = re.compile(r"(?<![\w{$%\\}])\{([A-Za-z_]\w*)\}(?!\})")
_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]*")


@record
class Sections:
    """What reading a config's data gave. `config` is None where there are problems."""

    config: Config | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    secrets: tuple[str, ...]
    templates: tuple[TemplateUse, ...]


def read_sections(
    whole: type[Config],
    data: dict[str, Any],
    origin: Origin,
    environ: Mapping[str, str],
    here: Placement | None = None,
) -> Sections:
    """Check everything. `whole` is the class of the config as a whole, `here` the placement of agents that run here."""
    return _Reading(whole, origin, environ, here).read(data)


class _Reading:
    """Collects problems, notes and texts with a meaning while the sections are read."""

    def __init__(self, whole: type[Config], origin: Origin, environ: Mapping[str, str], here: Placement | None) -> None:
        self._here = here
        self._on_a_cluster = False
        self._far_tools: frozenset[str] = frozenset()
        self._whole = whole
        self._origin = origin
        self._environ = environ
        self._steps: set[Any] = set()
        self._keys = KeyCheck(origin, environ)
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._texts: list[MeantText] = []
        self._maybe: set[Path] = set()
        self._listed: set[Path] = set()
        """Each `for_each` that every item comes to which comes to its step."""
        self._in_place: dict[str, None] = {}
        """What groups are called that are written inside others: templates may read them, nobody can lead to them."""

    def read(self, data: dict[str, Any]) -> Sections:
        whole = self._whole
        data = self._respelled(data, (), whole)
        data |= {key: self._respelled(value, (key,), kind) for key, value, kind in _plain_sections(whole, data)}
        self._on_a_cluster = _joins_a_cluster(data.get("engine"))
        named = {
            name: self._named(data, name)
            for name in ("models", "mcp_servers", "tools", "toolsets", "agents", "groups", "vars")
        }
        self._steps = named["agents"].keys() | named["groups"].keys()
        self._far_tools = only_elsewhere(
            named["agents"], named["toolsets"], lambda section: self._is_far(placement_of(section))
        )
        built: dict[str, Any] = {
            "models": self._each(named["models"], "models", self._model),
            "mcp_servers": self._each(named["mcp_servers"], "mcp_servers", self._mcp_server),
            "tools": self._each(named["tools"], "tools", self._tool),
            "agents": self._each(named["agents"], "agents", self._agent),
            "groups": self._each(named["groups"], "groups", self._group),
        }
        self._check_names(named["agents"], named["groups"])
        self._problems += tool_name_problems(named, self._origin)
        if not named["agents"] and "agents" not in _wrong(data):
            self._add(("agents",), "no agents: an agent has at least a model and a prompt")
        workflow = self._nested(whole.model_fields["workflow"].annotation, data.get("workflow"), ("workflow",))
        rest = {**data, **built} | ({"workflow": workflow} if "workflow" in data else {})
        of_whole = {key: rest[key] for key in ("workflow", "vars", "toolsets", "checks") if key in rest}
        self._texts += [self._with_file(text, rest, ()) for text in meant_texts(whole, of_whole, ())]
        config = self._checked(whole, rest, ())
        if config is not None:
            self._problems += self._hook_problems(config)
        templates = self._check_texts(named, "workflow" in data)
        self._problems += answer_field_problems(templates, built["agents"], self._origin)
        self._notes += answer_field_notes(templates, built["agents"], self._origin)
        self._problems += self._keys.check(data, self._models_in_use())
        if config is not None and not self._problems:
            self._check_flows(config)
        problems = tuple(self._problems)
        return Sections(None if problems else config, problems, tuple(self._notes), self._keys.secrets(data), templates)

    def _hook_problems(self, config: Config) -> Iterator[Problem]:
        for key, message in config.hooks.faults(self._origin.folder):
            yield self._origin.problem(("hooks", key), message)

    def _add(self, path: Path, message: str, **more: Any) -> None:
        self._problems.append(self._origin.problem(path, message, **more))

    # sections

    def _named(self, data: dict[str, Any], section: str) -> dict[str, Any]:
        """A section that maps names to things; empty where it is wrong or not there."""
        value = data.get(section)
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        if value is not None:
            self._add((section,), f"expected a mapping of names to {section}", key=True)
        return {}

    def _each(self, named: dict[str, Any], section: str, read: Callable[[dict[str, Any], Path], Any]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for name, value in named.items():
            path: Path = (section, name)
            if not isinstance(value, dict):
                self._add(path, f"expected a mapping that describes the {NAMED_SECTIONS[section]}", key=True)
                continue
            made = read(cast("dict[str, Any]", value), path)
            if made is not None:
                built[name] = made
        return built

    def _model(self, data: dict[str, Any], path: Path) -> ModelConfig | None:
        if not _MODEL_NAME.fullmatch(str(path[1])):
            self._add(path, f"the name {path[1]!r} has a character that no model's name has", key=True)
        provider = data.get("provider")
        if not isinstance(provider, str) or provider not in models.PROVIDERS:
            self._unknown_kind(data, path, "provider", provider, models.PROVIDERS)
            return None
        kind = models.config_class(provider)
        data = self._respelled(data, path, kind)
        self._keys.fill_in(data, path, provider, kind)
        return self._section(kind, data, path)

    def _tool(self, data: dict[str, Any], path: Path) -> ToolConfig | None:
        kinds = [kind for kind in tools.KINDS if kind in data]
        classes = [tools.config_class(kind) for kind in kinds]
        fitting = [each for each in classes if all(kind in keys_of(each) for kind in kinds)]
        if not fitting:
            self._no_kind(data, path, kinds, "a tool", tools.KINDS)
            return None
        return self._section(fitting[0], data, path)

    def _mcp_server(self, data: dict[str, Any], path: Path) -> McpServerConfig | None:
        return self._section(McpServerConfig, data, path)

    def _agent(self, data: dict[str, Any], path: Path) -> AgentConfig | None:
        kind = data.get("kind", "react" if "tools" in data else "chat")
        if not isinstance(kind, str) or kind not in agents.KINDS:
            self._unknown_kind(data, path, "kind", kind, agents.KINDS)
            return None
        if kind == "function":
            here = not self._is_far(placement_of(data.get("placement")))
            data = with_named_arguments(data, self._steps - {path[1]}, self._origin.folder, runs_here=here)
        return self._section(_class_of(agents.KINDS[kind]), data, path)

    def _unknown_kind(self, data: dict[str, Any], path: Path, key: str, value: Any, table: Mapping[str, Any]) -> None:
        hint = f"one of: {listing(table, 20)}"
        if key not in data:
            self._add(path, f"missing key {key!r}", key=True, hint=hint)
            return
        nearest = did_you_mean(value, table).lstrip(", ") if isinstance(value, str) else ""
        shown = "" if self._origin.from_environment((*path, key)) else f" {value!r}"
        self._add((*path, key), f"unknown {key}{shown}", where=path, hint=nearest or hint)

    def _group(self, data: dict[str, Any], path: Path) -> GroupConfig | None:
        data = self._respelled(data, path, GroupConfig)
        kinds = [kind for kind in flows.KINDS if kind in data]
        classes = {kind: _class_of(flows.KINDS[kind]) for kind in kinds}
        fitting = [kind for kind in kinds if all(other in keys_of(classes[kind]) for other in kinds)]
        if not fitting:
            self._no_kind(data, path, kinds, "a group", flows.KINDS)
            return None
        chosen: type[GroupConfig] = classes[fitting[0]]
        fields = keys_of(chosen)
        nested = {
            key: self._nested(fields[key].annotation, value, (*path, key)) if key in fields else value
            for key, value in data.items()
        }
        if path[0] != "groups" or len(path) > 2:
            name = str(data.get("name") or flows.KIND_NAMES.get(fitting[0], fitting[0]))
            self._in_place |= {} if name in _RESERVED else {name: None}
        return self._section(chosen, nested, path)

    def _no_kind(self, data: dict[str, Any], path: Path, kinds: list[str], noun: str, table: Mapping[str, Any]) -> None:
        if kinds:
            self._add(path, f"{noun} has one of {' and '.join(map(repr, kinds))}, not both", key=True)
            return
        if "else" in data:
            hint = "write `then`, what runs if `when` holds; or turn the condition round"
            self._add((*path, "else"), "`else` without `then`", key=True, hint=hint)
            return
        hints = (did_you_mean(key, table) for key in data)
        hint = next((hint.lstrip(", ") for hint in hints if hint), "")
        self._add(path, f"{noun} has one of the keys {listing(table, 20)}", key=True, hint=hint)

    def _nested(self, annotation: Any, value: Any, path: Path) -> Any:
        """The value with every group that is written in place made an object."""
        arms = list(_arms(annotation))
        if isinstance(value, list):
            inner = next((get_args(arm)[0] for arm in arms if get_origin(arm) is list), None)
            items = cast("list[Any]", value)
            return [self._nested(inner, item, (*path, index)) for index, item in enumerate(items)]
        if not isinstance(value, dict):
            return value
        mapping = cast("dict[str, Any]", value)
        if GroupConfig in arms and any(key in flows.KINDS for key in mapping):
            return self._group(mapping, path) or GroupConfig()  # the bare class stands for one that is wrong
        inner = next((get_args(arm)[1] for arm in arms if get_origin(arm) is dict), None)
        return {key: self._nested(inner, item, (*path, key)) for key, item in mapping.items()} if inner else mapping

    def _section(self, kind: type[Section], data: dict[str, Any], path: Path) -> Section | None:
        data = self._respelled(data, path, kind)
        if isinstance(data.get("env"), list) and "env" in keys_of(kind):
            data, problems = with_variables(data, path, self._origin, self._environ)
            self._problems += problems
        if any(key in data for key in _MAYBE):
            self._maybe.add(path)
        if not any(key in data for key in _MAYBE - {"for_each"}):
            self._listed.add((*path, "for_each"))
        for text in meant_texts(kind, data, path):
            self._texts.append(self._with_file(text, data, path))
        made = self._checked(kind, data, path)
        for key, message in self._faults(made, path):
            self._add((*path, key), message)
        return made

    def _faults(self, made: BaseModel | None, path: Path) -> Iterable[tuple[str, str]]:
        """What is wrong with a section on the machine that it is for."""
        if path[0] == "tools" and path[1] in self._far_tools:
            return ()
        folder = self._origin.folder
        if not isinstance(made, AgentConfig) or not self._is_far(made.placed):
            return made.faults(folder) if isinstance(made, Grounded) else ()
        known = function_like(made.function, folder) if isinstance(made, FunctionConfig) else None
        return made.faults_of(known) if isinstance(made, FunctionConfig) and known is not None else ()

    def _is_far(self, placement: Placement | None) -> bool:
        """Whether an agent with it runs on another machine, which alone may have what it needs."""
        return self._on_a_cluster and placement is not None and placement != self._here

    def _respelled(self, data: dict[str, Any], path: Path, kind: type[BaseModel]) -> dict[str, Any]:
        data, notes, problems = respelled(data, path, keys_of(kind), self._origin)
        self._notes += notes
        self._problems += problems
        return data

    def _checked(self, kind: type[Section], data: Mapping[str, Any], path: Path) -> Section | None:
        also_known = flows.KINDS if issubclass(kind, GroupConfig) else ()
        made, problems = checked(
            kind, data, path, self._origin, also_known, lambda key: place_of_key(key, kind, self._whole)
        )
        self._problems += problems
        return made

    def _with_file(self, text: MeantText, data: dict[str, Any], path: Path) -> MeantText:
        """The text, from its file where it names one; the data is given the content, too."""
        if text.of != "template" or not is_file_reference(text.text):
            return text
        try:
            source, content = read_prompt_file(text.text, self._origin.folder)
        except ValueError as error:
            self._add(text.path, str(error))
            return MeantText(text.path, text.of, "")
        _put(data, text.path[len(path) :], content)
        self._origin.files[text.path] = source
        return MeantText(text.path, text.of, content)

    # across sections

    def _check_names(self, agents_: dict[str, Any], groups: dict[str, Any]) -> None:
        for section, named in (("agents", agents_), ("groups", groups)):
            for name in named:
                problem = _wrong_name(name)
                if problem:
                    self._add(
                        (section, name), f"the name {name!r} {problem[0]}", where=(section,), key=True, hint=problem[1]
                    )
        for name in groups.keys() & agents_.keys():
            self._add(("groups", name), "an agent has this name, too", key=True, hint="rename one of them")

    def _check_texts(self, named: Mapping[str, dict[str, Any]], has_workflow: bool) -> tuple[TemplateUse, ...]:
        steps = [*named["agents"], *named["groups"]]
        delegated = delegations(self._texts, steps, named["tools"], named["toolsets"])
        leading = [text for text in self._texts if text.path[0] != "tools" and text.of == "step"]
        graph = StepGraph.of(leading + delegated)
        led_to = {text.text for text in leading + delegated}
        starts = [ROOT] if has_workflow else [name for name in named["agents"] if name not in led_to]
        names = self._names_there([*steps, *self._in_place], starts, leading, delegated, named)
        tool_names = [*named["tools"], *named["toolsets"]]
        self._problems += unknown_names(
            self._texts, steps, names.steps, named["models"], tool_names, named["mcp_servers"], self._origin
        )
        self._problems += circles(graph, self._origin)
        certain = StepGraph.of(text for text in self._texts if self._is_certain(text.path))
        reached = certain.below(ROOT) if has_workflow else frozenset(steps)
        uses: list[TemplateUse] = []
        self._notes += self._plain_braces()
        for text, found in self._compiled():
            self._problems += reference_problems(text.path, found, names, self._origin)
            comes_there = owner_of(text.path) in reached and self._is_certain(text.path)
            uses.append(TemplateUse(text.path, text.text, found, comes_there))
        return tuple(uses)

    def _names_there(
        self,
        steps: list[str],
        starts: list[str],
        leading: list[MeantText],
        delegated: list[MeantText],
        named: Mapping[str, dict[str, Any]],
    ) -> NamesThere:
        """`starts` are where an item enters, `leading` and `delegated` the names by which a step leads to others."""
        mapped = {owner_of(text.path) for text in self._texts if text.path[-1] == "for_each"} - {ROOT}
        graph = StepGraph.of(leading + delegated)
        sets = [text.path for text in self._texts if text.path[0] == "vars" or "set" in text.path[2:-1]]

        def seeing(gives: Callable[[MeantText], bool]) -> SomeSteps:
            """Those that see a name which is there below the texts that `gives` is true of."""
            others = StepGraph.of(text for text in leading if not gives(text))
            return SomeSteps(
                graph.below(*(text.text for text in leading if gives(text))) - {ROOT}, others.below(*starts)
            )

        elsewhere = StepGraph.of(text for text in leading if owner_of(text.path) not in mapped).below(*starts)
        called = graph.below(*(text.text for text in delegated))
        return NamesThere(
            steps,
            variables=list(dict.fromkeys([*(str(path[-1]) for path in sets), *_set_by(named)])),
            sometimes={
                "loop": seeing(lambda text: "loop" in text.path),
                "each": SomeSteps(graph.below(*mapped) - {ROOT}, elsewhere - mapped),
                "members": seeing(lambda text: "aggregate" in text.path),
                "output": seeing(lambda text: "checks" in text.path),
                "args": SomeSteps(called, StepGraph.of(leading).below(*starts)),
            },
            arguments=argument_names(named["tools"]),
        )

    def _is_certain(self, path: Path) -> bool:
        """Whether every item comes through the part at `path` if it comes to its owner at all."""
        if "fallback" in path or "checks" in path or path[0] == "tools":
            return False
        whole = len(path) - 2 if path in self._listed else len(path)
        return not any(path[:end] in self._maybe for end in range(1, whole + 1))

    def _plain_braces(self) -> Iterator[str]:
        """`{product}` in a prompt: elsewhere a template, here what is sent."""
        for text in self._texts:
            word = _PLAIN_BRACES.search(text.text) if text.path[-1] in ("prompt", "instructions") else None
            if word is not None:
                said = f"{{{word[1]}}} is sent as it stands; a field of the input is {{{{ input.{word[1]} }}}}"
                line = text.text.count("\n", 0, word.start()) + 1
                yield self._origin.problem(text.path, said, line=line).headline

    def _check_flows(self, config: Config) -> None:
        """What only shows where every section by itself is right."""
        for found in flow_findings(config):
            problem = self._origin.problem(found.path, found.message, key=True, hint=found.hint)
            if found.note:
                self._notes.append(problem.headline)
            else:
                self._problems.append(problem)

    def _compiled(self) -> Iterator[tuple[MeantText, References]]:
        for text in self._texts:
            if text.of in ("template", "condition"):
                found = compiled(text, self._origin)
                if isinstance(found, Problem):
                    self._problems.append(found)
                else:
                    yield text, found

    def _models_in_use(self) -> frozenset[str]:
        return frozenset(text.text for text in self._texts if text.of == "model")


def _set_by(named: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The variables that stand in the file, also those whose value is no text: that is a problem of its own."""
    yield from named["vars"]
    for step in (*named["agents"].values(), *named["groups"].values()):
        sets = cast("dict[str, Any]", step).get("set") if isinstance(step, dict) else None
        yield from cast("dict[str, Any]", sets) if isinstance(sets, dict) else ()


def _plain_sections(whole: type[Config], data: dict[str, Any]) -> list[tuple[str, dict[str, Any], type[BaseModel]]]:
    """Sections such as `defaults` and `limits`: one mapping, of one class."""
    annotations = {key: field.annotation for key, field in keys_of(whole).items()}
    return [
        (key, cast("dict[str, Any]", value), annotation)
        for key, value in data.items()
        if isinstance(annotation := annotations.get(key), type) and isinstance(value, dict)
        if issubclass(annotation, BaseModel)
    ]


def _class_of(entry: tuple[str, str]) -> Any:
    module, name = entry
    return getattr(import_module(module), name)


def _arms(annotation: Any) -> Iterator[Any]:
    """The types that a value may have: a union's, with what is said about them left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _arms(get_args(annotation)[0])
    elif origin is Union or origin is UnionType:
        for arm in get_args(annotation):
            yield from _arms(arm)
    else:
        yield annotation


def _wrong_name(name: str) -> tuple[str, str] | None:
    if re.fullmatch(NAME_PATTERN, name) is None:
        mended = re.sub(r"[^A-Za-z0-9_]+", "_", name)
        mended = "_" + mended if mended[:1].isdigit() else mended
        return "is none that a template could read", f"letters, digits and _ only: {mended!r}" if mended else ""
    if name in _RESERVED or name in _JINJA_WORDS:
        return "is taken", "templates know another thing by it"
    return None


def _wrong(data: dict[str, Any]) -> set[str]:
    return {name for name, value in data.items() if value is not None and not isinstance(value, dict)}


def _put(data: Any, path: Path, value: str) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def _joins_a_cluster(engine: Any) -> bool:
    """Whether the items run on a cluster: on a private Ray, and here, placements do not count."""
    return isinstance(engine, dict) and cast("dict[str, Any]", engine).get("kind") == "ray" and "address" in engine
