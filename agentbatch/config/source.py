"""The config as it was written: its data, and for each part of it the line it came from.

A part's path is that of the data the program works with; `Origin` leads from there back to the file: to a key that was
spelled another way, to an option of the command line, to a prompt's own file, to an environment variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, cast

from agentbatch.config.environment import Expanded, expand
from agentbatch.config.problems import Problem, SourceText, masked
from agentbatch.config.yaml_tree import Path, Place, ScalarHook, Tree, parse_yaml
from agentbatch.record import record
from agentbatch.text.suggestions import nearest

MAX_FILE_BYTES = 5_000_000
NAMED_SECTIONS = {"models": "model", "agents": "agent", "groups": "group", "tools": "tool", "mcp_servers": "MCP server"}


@dataclass(slots=True)
class Origin:
    """Where every part came from. Paths are those of the data unless they are said to be the file's."""

    text: SourceText
    tree: Tree
    folder: FilePath
    spelled: dict[Path, str] = field(default_factory=dict[Path, str])
    """The file's key for a part that the file calls otherwise; the parents in this path are the file's."""
    variables: dict[Path, Expanded] = field(default_factory=dict[Path, Expanded])
    """By the file's paths: texts that were filled in, from environment variables or their defaults."""
    overrides: dict[Path, str] = field(default_factory=dict[Path, str])
    """What came from the command line, as it was typed: `--set limits.max_cost=5`."""
    files: dict[Path, SourceText] = field(default_factory=dict[Path, SourceText])
    """The files that template texts were loaded from."""

    def written(self, path: Path) -> Path:
        """The file's own path of a part."""
        found: Path = ()
        for part in path:
            found = (*found, self.spelled.get((*found, part), part))
        return found

    def override(self, path: Path) -> str | None:
        """What was typed on the command line where a part came from there."""
        written = self.written(path)
        for end in range(len(written), 0, -1):
            if written[:end] in self.overrides:
                return self.overrides[written[:end]]
        if written in self.tree.values:
            return None
        # a mapping that is there only because an override sets something in it
        return next((said for made, said in self.overrides.items() if made[: len(written)] == written), None)

    def from_environment(self, path: Path) -> Expanded | None:
        """The variables in a part's text, and that text; None where nothing of it came from the environment."""
        filled = self.filled(path)
        return filled if filled and filled.variables else None

    def filled(self, path: Path) -> Expanded | None:
        """A part's text after `${...}` was filled in; None where there was none."""
        return self.variables.get(self.written(path))

    def problem(
        self,
        path: Path,
        message: str,
        *,
        hint: str = "",
        key: bool = False,
        where: Path | None = None,
        line: int = 0,
        word: str = "",
    ) -> Problem:
        """A problem with the part at `path`.

        Args:
            path: the part.
            message: what is wrong with it.
            hint: how to mend it.
            key: point at its key rather than its value.
            where: the part that the message names; default: `path`.
            line: counted from 1 inside the part's text, for a text of several lines.
            word: point at this word, where that line has it.
        """
        label = dotted(path if where is None else where)
        override = self.override(path)
        if override is not None:
            return Problem(message, SourceText(override), where=label, hint=hint)
        if path in self.files:
            spot = _find(self.files[path], Place(line or 1, 1, line or 1), word)
            return Problem(message, self.files[path], *spot, where=label, hint=hint)
        place = self._place(self.written(path), key)
        if place is None:
            return Problem(message, self.text, where=label, hint=hint)
        if line:
            first = place.line + line - 1 + place.block
            place = Place(min(first, place.end_line), place.column if first == place.line else 1, place.end_line)
        return Problem(message, self.text, *_find(self.text, place, word), where=label, hint=hint)

    def _place(self, path: Path, key: bool) -> Place | None:
        """The place of a part, or of the nearest part around it."""
        if key and path in self.tree.keys:
            return self.tree.keys[path]
        for end in range(len(path), -1, -1):
            if path[:end] in self.tree.values:
                return (
                    self.tree.keys.get(path[:end], self.tree.values[path[:end]])
                    if end < len(path)
                    else (self.tree.values[path])
                )
        return None


def dotted(path: Path) -> str:
    """`agents.writer.tools[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _find(source: SourceText, place: Place, word: str) -> tuple[int, int, int]:
    """Line, column and width of `word` at or after a place, within its lines; of the place itself if it has no such."""
    if word:
        last = min(max(place.end_line, place.line), len(source.lines))
        whole_word = re.compile(rf"(?<![\w.]){re.escape(word)}(?!\w)")
        for number in range(place.line, last + 1):
            match = whole_word.search(source.lines[number - 1], place.column - 1 if number == place.line else 0)
            if match:
                return number, match.start() + 1, len(word)
    line = source.lines[place.line - 1] if place.line <= len(source.lines) else ""
    blank = len(line) - len(line.lstrip()) if place.column == 1 else 0
    return place.line, place.column + blank, 1


@record
class Override:
    """One key set from outside the file.

    Attributes:
        setting: `KEY=VALUE`: a dotted path and a value in YAML.
        said: how the user said it, for messages: `--max-cost 5`.
    """

    setting: str
    said: str


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """What a config was loaded from: its file, the `--set` overrides, and the variables that were asked for."""

    path: FilePath
    overrides: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(slots=True)
class ReadConfig:
    """The data of a config before it is checked, where it came from, and what was already wrong with it."""

    data: Any
    origin: Origin
    problems: list[Problem] = field(default_factory=list[Problem])


def read_config(
    path: FilePath, text: str, environ: Mapping[str, str], overrides: Sequence[Override], *, serverless: bool = False
) -> ReadConfig:
    """Parse, fill in the environment's variables, and apply the overrides.

    `serverless`: no server will be asked, so that the variables which say where and with which key may be missing.
    """
    variables: dict[Path, Expanded] = {}
    tree = parse_yaml(text, _filling(environ, variables, serverless=serverless))
    source = SourceText.of(str(path), text)
    read = ReadConfig(tree.data, Origin(source, tree, path.parent, variables=variables))
    for fault in tree.faults:
        spot = (fault.place.line, fault.place.column) if fault.place else (0, 0)
        read.problems.append(Problem(fault.message, source, *spot, where=dotted(fault.path)))
    for override in overrides:
        _apply(read, override, environ)
    return read


_NOT_PLAIN = re.compile(r"\{\{|\{%|(?:^|\s)#")
"""What YAML would take for a mapping or for a comment."""
_OF_SERVERS = {"api_key": "none", "base_url": "http://replay.invalid", "extra_headers": "none"}
"""Keys of a model that say how to reach it, and what stands in for them where nobody does."""


def _filling(environ: Mapping[str, str], variables: dict[Path, Expanded], *, serverless: bool = False) -> ScalarHook:
    """Fills in variables, and notes which went where."""

    def fill_in(at: Path, value: str, _: Place) -> str | None:
        if "$" not in value:
            return None
        try:
            variables[at] = expand(value, environ)
        except ValueError:
            if serverless and at[:1] == ("models",) and at[2:3] and at[2] in _OF_SERVERS:
                return _OF_SERVERS[str(at[2])]
            raise
        return variables[at].text

    return fill_in


def _as_meant(text: str) -> str:
    """A value on the command line is YAML, but a template or a text with ` #` in it is meant as it stands."""
    start = text.lstrip()
    is_text = not start.startswith(("[", "{", '"', "'")) or start.startswith(("{{", "{%"))
    return json.dumps(text, ensure_ascii=False) if is_text and _NOT_PLAIN.search(text) else text


def _apply(read: ReadConfig, override: Override, environ: Mapping[str, str]) -> None:
    key, equals, text = override.setting.partition("=")
    said = masked(override.said if len(override.said) <= 100 else f"{override.said.removesuffix(text)[:90]}...")
    source = SourceText(said)
    variables: dict[Path, Expanded] = {}
    value = parse_yaml(_as_meant(text), _filling(environ, variables))
    if not equals or not key:
        read.problems.append(Problem("expected KEY=VALUE, such as limits.max_cost=5", source))
        return
    if value.faults:
        read.problems += [Problem(fault.message, source) for fault in value.faults]
        return
    try:
        path = _set(read.data, key, value.data)
    except ValueError as error:
        read.problems.append(Problem(str(error), source))
        return
    origin = read.origin
    for replaced in [each for each in origin.variables if each[: len(path)] == path]:
        del origin.variables[replaced]
    origin.variables.update({(*path, *below): filled for below, filled in variables.items()})
    origin.overrides[path] = said


def _set(data: Any, key: str, value: Any) -> Path:
    """Set the part that a dotted key names, making the mappings on the way.

    Raises:
        ValueError: the way leads through something that is no mapping, or through a name that is not declared.
    """
    path: Path = ()
    rest = key.split(".")
    while True:
        if isinstance(data, list):
            part: Any = _index(rest.pop(0), cast("list[Any]", data), path)
        elif isinstance(data, dict):
            part = _next_key(cast("dict[str, Any]", data), rest)
            _check_declared(cast("dict[str, Any]", data), path, part, rest)
        else:
            raise ValueError(f"{dotted(path) or 'the config'} is no mapping: nothing can be set in it")
        path = (*path, part)
        if not rest:
            data[part] = value
            return path
        if isinstance(data, dict) and cast("dict[str, Any]", data).get(part) is None:
            data[part] = {}
        data = cast("Any", data)[part]


def _index(part: str, items: list[Any], path: Path) -> int:
    if part.isascii() and part.isdigit() and int(part) < len(items):
        return int(part)
    raise ValueError(f"{dotted(path)} is a list of {len(items)}: name one by its number, from 0")


def _next_key(data: dict[str, Any], rest: list[str]) -> str:
    """Take the longest key that is there off the rest (a model's name may have dots in it), or the next part."""
    for end in range(len(rest), 1, -1):
        joined = ".".join(rest[:end])
        if joined in data:
            del rest[:end]
            return joined
    return rest.pop(0)


def _check_declared(section: dict[str, Any], path: Path, name: str, rest: list[str]) -> None:
    """An override may add a key to an agent, but not invent the agent."""
    noun = NAMED_SECTIONS.get(str(path[0])) if len(path) == 1 else None
    if noun is None or not rest or name in section:
        return
    match = nearest(name, section)
    raise ValueError(f"there is no {noun} {name!r}" + (f", did you mean {match!r}?" if match else ""))
