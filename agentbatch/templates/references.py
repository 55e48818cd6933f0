"""What a template reads, found without running it: the dotted paths in its syntax tree."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from jinja2 import nodes

from agentbatch.record import record

Path = tuple[str, ...]

_GUARDS = frozenset({"default", "d", "defined", "undefined"})
_FUNCTIONS = frozenset({"range", "dict", "cycler", "joiner", "namespace"})


@record
class References:
    """Dotted paths that a template reads, such as `("critic", "output", "issues")`.

    Attributes:
        lines: every path, and the line of the template (from 1) that it is first read in.
        required: those that are read somewhere without a guard: rendering fails where they are missing. A guard is
            `default(...)`, `is defined`, or an `if` around the place that asks for the path.
        always: those of them that are read whatever else the names hold: in no branch, no loop, and not behind `and`.
    """

    lines: Mapping[Path, int]
    required: frozenset[Path] = frozenset()
    always: frozenset[Path] = frozenset()

    @property
    def all(self) -> frozenset[Path]:
        """Every path."""
        return frozenset(self.lines)


def find_references(tree: nodes.Node) -> References:
    """Walk a template's syntax tree; loop variables, macros and names it sets itself are no references."""
    reader = _Reader()
    reader.read(tree, frozenset(), frozenset())
    return References(reader.lines, frozenset(reader.required), frozenset(reader.always))


class _Reader:
    """Collects paths; `bound` are the template's own names at a place, `guarded` the paths asked for around it."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.required: set[Path] = set()
        self.always: set[Path] = set()
        self._perhaps = 0

    @contextmanager
    def _only_perhaps(self) -> Generator[None]:
        """While it holds, what is read is read in some renderings only."""
        self._perhaps += 1
        yield
        self._perhaps -= 1

    def read(self, node: nodes.Node, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
            self._read_path(node, bound, guarded)
        elif isinstance(node, nodes.Call):
            self._read_call(node, bound, guarded)
        elif isinstance(node, nodes.Filter | nodes.Test) and node.name in _GUARDS and node.node is not None:
            self._read_guarded(node, node.node, bound, guarded)
        elif isinstance(node, nodes.If | nodes.CondExpr):
            self._read_branches(node, bound, guarded)
        elif isinstance(node, nodes.And | nodes.Or):
            self._read_logic(node, bound, guarded)
        elif isinstance(node, nodes.Not) and isinstance(node.node, nodes.Name | nodes.Getattr | nodes.Getitem):
            self._read_guarded(node, node.node, bound, guarded)
        elif isinstance(node, nodes.For):
            self._read_for(node, bound, guarded)
        elif isinstance(node, nodes.With):
            self._read_with(node, bound, guarded)
        elif isinstance(node, nodes.Macro | nodes.CallBlock):
            self._read_macro(node, bound, guarded)
        else:
            self._read_in_order(node.iter_child_nodes(), bound, guarded)

    def _read_in_order(
        self, children: Iterable[nodes.Node], bound: frozenset[str], guarded: frozenset[Path]
    ) -> frozenset[str]:
        """Read siblings; what one sets, those after it know."""
        for child in children:
            self.read(child, bound, guarded)
            bound |= _names_set_by(child)
        return bound

    def _read_path(self, node: nodes.Expr, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        path, rest = _path_of(node)
        for expression in rest:
            self.read(expression, bound, guarded)
        if not path or path[0] in bound:
            return
        guard_stands = any(path[: len(guard)] == guard for guard in guarded)
        if not guard_stands and path not in self.required:
            self.required.add(path)
            self.lines[path] = node.lineno
        if not guard_stands and not self._perhaps:
            self.always.add(path)
        self.lines.setdefault(path, node.lineno)

    def _read_call(self, node: nodes.Call, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        """A called attribute is a method, for fields are data: `input.name.upper()` reads `input.name`."""
        called = node.node.node if isinstance(node.node, nodes.Getattr) else node.node
        if not (isinstance(called, nodes.Name) and called.name in _FUNCTIONS):
            self.read(called, bound, guarded)
        for child in node.iter_child_nodes(exclude=("node",)):
            self.read(child, bound, guarded)

    def _read_guarded(
        self, node: nodes.Node, subject: nodes.Node, bound: frozenset[str], guarded: frozenset[Path]
    ) -> None:
        self.read(subject, bound, guarded | _asked_for(subject))
        for child in node.iter_child_nodes(exclude=("node",)):
            self.read(child, bound, guarded)

    def _read_branches(self, node: nodes.If | nodes.CondExpr, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        asked = _asked_for(node.test)
        self.read(node.test, bound, guarded | asked)
        for field, value in node.iter_fields(exclude=("test",)):
            inner = guarded | asked if field != "else_" or isinstance(node, nodes.If) else guarded
            children = cast("list[nodes.Node]", value) if isinstance(value, list) else [value] if value else []
            with self._only_perhaps():
                self._read_in_order(children, bound, inner)

    def _read_logic(self, node: nodes.And | nodes.Or, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        """`a and a.b` and `a or 'x'` ask for `a` first."""
        asked = _asked_for(node.left)
        self.read(node.left, bound, guarded | asked)
        with self._only_perhaps():
            self.read(node.right, bound, guarded | asked)

    def _read_for(self, node: nodes.For, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        self.read(node.iter, bound, guarded)
        inner = bound | _stored_names(node.target) | {"loop"}
        with self._only_perhaps():
            if node.test is not None:
                self.read(node.test, inner, guarded)
            self._read_in_order(node.body, inner, guarded)
            self._read_in_order(node.else_, bound, guarded)

    def _read_with(self, node: nodes.With, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        for target, value in zip(node.targets, node.values, strict=True):
            self.read(value, bound, guarded)
            bound |= _stored_names(target)
        self._read_in_order(node.body, bound, guarded)

    def _read_macro(self, node: nodes.Macro | nodes.CallBlock, bound: frozenset[str], guarded: frozenset[Path]) -> None:
        if isinstance(node, nodes.CallBlock):
            self.read(node.call, bound, guarded)
        for default in node.defaults:
            self.read(default, bound, guarded)
        own = {argument.name for argument in node.args} | {"caller", "varargs", "kwargs"}
        with self._only_perhaps():
            self._read_in_order(node.body, bound | own, guarded)


def _path_of(node: nodes.Expr) -> tuple[Path, list[nodes.Node]]:
    """The dotted path an expression spells, as far as it is constant, and the other expressions inside it."""
    if isinstance(node, nodes.Name):
        return ((node.name,) if node.ctx == "load" else ()), []
    if isinstance(node, nodes.Getattr):
        path, rest = _path_of(node.node)
        return (((*path, node.attr) if path and not rest else path), rest)
    if isinstance(node, nodes.Getitem):
        path, rest = _path_of(node.node)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) and path and not rest:
            return (*path, node.arg.value), rest
        # a computed or numbered element: the path ends at the container
        return path, [*rest, node.arg]
    return (), [node]


def _asked_for(test: nodes.Node) -> frozenset[Path]:
    """Paths whose being there a test asks about: `x`, `not x`, `x is defined`, and such joined by and/or."""
    if isinstance(test, nodes.Name | nodes.Getattr | nodes.Getitem):
        path, rest = _path_of(test)
        return frozenset({path}) if path and not rest else frozenset()
    if isinstance(test, nodes.Not) or (isinstance(test, nodes.Test) and test.name in _GUARDS):
        return _asked_for(test.node)
    if isinstance(test, nodes.And | nodes.Or):
        return _asked_for(test.left) | _asked_for(test.right)
    return frozenset()


def _names_set_by(node: nodes.Node) -> frozenset[str]:
    """Names that a statement leaves known to those after it."""
    if isinstance(node, nodes.Assign | nodes.AssignBlock):
        return _stored_names(node.target)
    if isinstance(node, nodes.Macro):
        return frozenset({node.name})
    if isinstance(node, nodes.If):
        return frozenset(name for child in node.iter_child_nodes() for name in _names_set_by(child))
    return frozenset()


def _stored_names(target: nodes.Node) -> frozenset[str]:
    return frozenset(_walk_stored(target))


def _walk_stored(target: nodes.Node) -> Iterator[str]:
    if isinstance(target, nodes.Name):
        yield target.name
    for child in target.iter_child_nodes():
        yield from _walk_stored(child)
