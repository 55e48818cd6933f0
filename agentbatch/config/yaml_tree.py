"""YAML text to plain data, with the place of every key and value, and every problem at once.

YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `no`, `on` and `12:30:45` are text. Stricter than
YAML where a config would suffer: keys are text and unique, one document, no tags but the core ones, and bounds on size,
depth and aliases that a bomb hits before it is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from agentbatch.record import record
from agentbatch.text.suggestions import did_you_mean

MAX_CHARS = 5_000_000
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in the whole file, each alias counted as all that it stands for."""
MAX_ALIASES = 1_000

Path = tuple[str | int, ...]
"""Keys and list indices from the top: `("agents", "writer", "prompt")`."""


@record
class Place:
    """Where something begins, counted from 1 as editors do; `end_line` is the last line of its text."""

    line: int
    column: int
    end_line: int = 0
    block: bool = False
    """A text after `|` or `>`: its own first line is the one after `line`."""


@record
class Fault:
    """What is wrong with the YAML as such, and where. `path` leads to the mapping or value at fault."""

    message: str
    place: Place | None
    path: Path = ()


@dataclass(slots=True)
class Tree:
    """A parsed document. `keys` and `values` give the place of each key and value by its path."""

    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict[Path, Place])
    values: dict[Path, Place] = field(default_factory=dict[Path, Place])
    faults: list[Fault] = field(default_factory=list[Fault])


ScalarHook = Callable[[Path, str, Place], str | None]
"""Gets each text or number before it is understood; gives other text to be understood instead, or None to leave it.
Raises ValueError with what is wrong."""


def parse_yaml(text: str, hook: ScalarHook | None = None) -> Tree:
    """Read one YAML document. Never raises: what is wrong is in the tree's `faults`.

    Args:
        text: the document.
        hook: may replace the text of scalar values (not keys); plain ones are understood anew afterwards.
    """
    tree = Tree()
    if len(text) > MAX_CHARS:
        tree.faults.append(Fault(f"the file is longer than {MAX_CHARS // 1_000_000} million characters", Place(1, 1)))
        return tree
    composer = _Composer()
    try:
        for event in _events(text):
            composer.take(event)
        if composer.root is not None:
            tree.data = _Builder(tree, hook).build(composer.root, (), 0)
    except _Stop as stop:
        tree.faults.append(stop.fault)
    except yaml.YAMLError as error:
        tree.faults.append(_syntax_fault(error, text))
    tree.faults[:0] = composer.faults
    return tree


def parse_scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2's core schema: null, a boolean, a number, or text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    return text


_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")


def _integer(text: str) -> int | str:
    try:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    except ValueError:  # Python refuses to read thousands of digits
        return text


# From text to events to nodes. Events come from libyaml where PyYAML has it; nodes are ours, because a recursive
# composer would follow a bomb as deep as it goes.


class _Stop(Exception):
    def __init__(self, message: str, place: Place | None) -> None:
        super().__init__(message)
        self.fault = Fault(message, place)


@dataclass(slots=True, eq=False)
class _Node:
    kind: Literal["scalar", "list", "map"]
    place: Place
    tag: str | None = None
    plain: bool = False
    text: str = ""
    items: list[_Node] = field(default_factory=list["_Node"])
    """A list's values; a map's keys and values in turn."""
    open: bool = False
    size: int = 1
    """Values in it, itself included, aliases counted as what they stand for."""


def _events(text: str) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return cast("Any", yaml).parse(text, Loader=loader)


class _Composer:
    """Builds nodes from events, counting as it goes."""

    def __init__(self) -> None:
        self.root: _Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[_Node] = []
        self._anchors: dict[str, _Node] = {}
        self._aliases = 0
        self._nodes = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            block = event.style in ("|", ">")
            plain = event.style in (None, "") and event.implicit[0]
            node = _Node("scalar", _place(event, block), event.tag, plain, event.value)
            self._add(node, event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "map"
            node = _Node(kind, _place(event), event.tag, open=True)
            self._add(node, event.anchor)
            self._stack.append(node)
            if len(self._stack) > MAX_DEPTH:
                raise _Stop(f"nested more than {MAX_DEPTH} deep", node.place)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._close(self._stack.pop())
        elif isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise _Stop("a second document begins here: a config is one document", _place(event))

    def _add(self, node: _Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Stop(f"more than {MAX_NODES:,} values", node.place)
        if anchor is not None:
            self._anchors[anchor] = node
        if self._stack:
            self._stack[-1].items.append(node)
        else:
            self.root = node

    def _close(self, node: _Node) -> None:
        node.open = False
        node.size = 1 + sum(item.size for item in node.items)
        if node.size > MAX_NODES:
            raise _Stop(f"aliases make this more than {MAX_NODES:,} values", node.place)

    def _add_alias(self, event: Any) -> None:
        place = _place(event)
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _Stop(f"more than {MAX_ALIASES:,} aliases", place)
        node = self._anchors.get(event.anchor)
        if node is None or node.open:
            why = "stands inside itself" if node else f"is not defined{did_you_mean(event.anchor, self._anchors)}"
            self.faults.append(Fault(f"the anchor '&{event.anchor}' {why}", place))
            node = _Node("scalar", place, plain=True)
        if self._stack:
            self._stack[-1].items.append(node)


def _place(event: Any, block: bool = False) -> Place:
    start, end = event.start_mark, event.end_mark
    last = end.line + 1 if end.column or end.line == start.line else end.line
    return Place(start.line + 1, start.column + 1, last, block)


# From nodes to data.

_CORE = "tag:yaml.org,2002:"
_KIND_OF_TAG = {"str": "scalar", "int": "scalar", "float": "scalar", "bool": "scalar", "null": "scalar"} | {
    "seq": "list",
    "map": "map",
}


class _Builder:
    """Makes plain data of nodes and notes the place of everything under its path."""

    def __init__(self, tree: Tree, hook: ScalarHook | None) -> None:
        self._tree = tree
        self._hook = hook

    def build(self, node: _Node, path: Path, depth: int) -> Any:
        self._tree.values[path] = node.place
        if depth > MAX_DEPTH:
            raise _Stop(f"aliases nest this more than {MAX_DEPTH} deep", node.place)
        tag = self._core_tag(node, path)
        if node.kind == "list":
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
        if node.kind == "map":
            return self._mapping(node, path, depth)
        return self._scalar(node, tag, path)

    def _fault(self, message: str, place: Place, path: Path) -> None:
        self._tree.faults.append(Fault(message, place, path))

    def _core_tag(self, node: _Node, path: Path) -> str | None:
        """The short name of the node's tag; None where it has none that matters."""
        if node.tag is None or node.tag in ("!", "?"):
            return "str" if node.tag == "!" and node.kind == "scalar" else None
        name = node.tag.removeprefix(_CORE)
        if _KIND_OF_TAG.get(name) != node.kind:
            shown = "!!" + name if name != node.tag else node.tag
            self._fault(f"the tag {shown[:80]!r} is not allowed here: remove it", node.place, path)
            return None
        return name

    def _scalar(self, node: _Node, tag: str | None, path: Path) -> Any:
        text = node.text
        if self._hook is not None:
            try:
                replaced = self._hook(path, text, node.place)
            except ValueError as error:
                self._fault(str(error), node.place, path)
                replaced = None
            text = text if replaced is None else replaced
        if tag is None:
            return parse_scalar(text) if node.plain else text
        if tag == "str":
            return text
        value = parse_scalar(text)
        if not _is_of_tag(value, tag):
            self._fault(f"{text[:40]!r} is no {tag}", node.place, path)
        return float(value) if tag == "float" and isinstance(value, int) else value

    def _mapping(self, node: _Node, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, Place] = {}
        merged: list[_Node] = []
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            if key.kind == "scalar" and key.plain and key.text == "<<":
                merged.append(value)
                continue
            name = self._key(key, path)
            if name is None:
                continue
            if name in first:
                self._fault(f"the key {name!r} stands here twice, first in line {first[name].line}", key.place, path)
                continue
            first[name] = self._tree.keys[(*path, name)] = key.place
            found[name] = self.build(value, (*path, name), depth + 1)
        for source in merged:
            self._merge(source, found, path, depth)
        return found

    def _key(self, key: _Node, path: Path) -> str | None:
        if key.kind != "scalar":
            hint = "put quotes around a value that begins with {{" if key.kind == "map" else "keys are text"
            self._fault(f"a mapping or list can't be a key: {hint}", key.place, path)
            return None
        if key.plain and not isinstance(parse_scalar(key.text), str):
            self._fault(f"keys are text: put quotes around {key.text[:40]!r}", key.place, path)
            return None
        return key.text

    def _merge(self, source: _Node, found: dict[str, Any], path: Path, depth: int) -> None:
        """`<<: *defaults`: keys that are not given here; of several sources, the first wins."""
        sources = source.items if source.kind == "list" else [source]
        for each in sources:
            if each.kind != "map":
                self._fault("'<<' takes a mapping, or a list of mappings", each.place, path)
                continue
            scratch = Tree()
            data = cast("dict[str, Any]", _Builder(scratch, self._hook).build(each, path, depth))
            self._tree.faults += scratch.faults
            self._adopt(scratch, path, data.keys() - found.keys())
            found.update({name: value for name, value in data.items() if name not in found})

    def _adopt(self, other: Tree, path: Path, names: AbstractSet[str]) -> None:
        """Take over the places of the keys `names` of the mapping at `path`, and of all below them."""
        for mine, theirs in ((self._tree.keys, other.keys), (self._tree.values, other.values)):
            mine.update({each: place for each, place in theirs.items() if each != path and each[len(path)] in names})


def _is_of_tag(value: Any, tag: str) -> bool:
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    return isinstance(value, kinds[tag]) and (tag == "bool" or not isinstance(value, bool))


# What libyaml says, in words that help.

_HINTS = {
    "found character '\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed": "put quotes around a value that has ': ' in it, or check the indentation",
    "found unexpected end of stream": "a quote is not closed",
    "found character that cannot start any token": "put quotes around the value, and indent with spaces, not tabs",
    "did not find expected": "check the indentation, and that brackets and quotes are closed",
    "could not find expected ':'": "a key needs ': ' after it",
    "control characters are not allowed": "remove the control character",
    "found undefined tag handle": "tags are not allowed: put quotes around a value that begins with '!'",
}


_UNQUOTED_VARIABLE = re.compile(r"[:,\[{]\s*[^\s\"',]*\$\{")
_UNQUOTED_TEMPLATE = re.compile(r"[:,\[{]\s*[^\s\"',{\[][^\"',]*\{\{")


def _line(text: str, error: yaml.YAMLError) -> str:
    number = cast("int", getattr(getattr(error, "problem_mark", None), "line", -1))
    lines = text.splitlines()
    return lines[number] if 0 <= number < len(lines) else ""


def _syntax_fault(error: yaml.YAMLError, text: str) -> Fault:
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if mark is None or (context is not None and mark.index >= len(text.rstrip())):
        mark = context or mark  # what is not closed says more than the end of the file
    hint = next((hint for start, hint in _HINTS.items() if start in problem), None)
    if "did not find expected" in problem and _UNQUOTED_VARIABLE.search(_line(text, error)):
        hint = 'inside { } and [ ] put quotes around "${VARIABLE}"'
    elif "did not find expected" in problem and _UNQUOTED_TEMPLATE.search(_line(text, error)):
        hint = "inside { } and [ ] put quotes around a text with {{ }} in it"
    message = f"not valid YAML: {problem}" + (f" ({hint})" if hint else "")
    if mark is not None:
        return Fault(message, Place(mark.line + 1, mark.column + 1))
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return Fault(message, Place(1, 1))
    before = text[:position]
    return Fault(message, Place(before.count("\n") + 1, position - before.rfind("\n")))
