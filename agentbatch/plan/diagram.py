"""A plan as a diagram: boxes and arrows, spelled for Mermaid or Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentbatch.plan.planner import Plan, PlanNode, bare
from agentbatch.plan.text import phrase, title
from agentbatch.record import record
from agentbatch.text.redact import visible

Shape = Literal["step", "choice", "end", "join"]
Style = Literal["solid", "dashed"]

_MOST_LABEL = 80


class Port(NamedTuple):
    """A box that a way leaves from, and what is written at the way: `yes`, `case bug`."""

    box: str
    label: str = ""


@record
class Box:
    id: str
    lines: tuple[str, ...]
    shape: Shape = "step"


@record
class Arrow:
    start: str
    end: str
    label: str = ""
    style: Style = "solid"


@dataclass(slots=True)
class Frame:
    """Boxes, and frames, with a line around them and a caption."""

    id: str
    caption: str
    inside: list[Box | Frame] = field(default_factory=list["Box | Frame"])


def render_mermaid(plan: Plan) -> str:
    """A Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html); ends in a newline."""
    frame, arrows = _drawn(plan)
    lines = ["flowchart TD", *_mermaid_inside(frame, 1), *(f"  {_mermaid_arrow(arrow)}" for arrow in arrows)]
    return "\n".join(lines) + "\n"


def render_dot(plan: Plan) -> str:
    """A Graphviz digraph (https://graphviz.org/doc/info/lang.html); ends in a newline."""
    frame, arrows = _drawn(plan)
    lines = [
        "digraph workflow {",
        "  rankdir=TB;",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        '  edge [fontname="sans-serif"];',
        *_dot_inside(frame, 1),
        *(f"  {_dot_arrow(arrow)}" for arrow in arrows),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _drawn(plan: Plan) -> tuple[Frame, list[Arrow]]:
    drawing = _Drawing(plan.root)
    whole = Frame("", "")
    start = drawing.box(whole, ("item",), "end")
    ways = drawing.draw(plan.root, whole, [Port(start)])
    drawing.link(ways, drawing.box(whole, ("result",), "end"))
    return whole, drawing.arrows


class _Drawing:
    """Draws one step after the other: each is given the ways that lead to it, and gives those that lead on."""

    def __init__(self, root: PlanNode) -> None:
        self.arrows: list[Arrow] = []
        self._root = root
        self._ids = 0

    def box(self, frame: Frame, lines: Sequence[str], shape: Shape = "step") -> str:
        box = Box(self._new_id("n"), tuple(visible(line, _MOST_LABEL) for line in lines if line), shape)
        frame.inside.append(box)
        return box.id

    def link(self, ways: list[Port], box: str, style: Style = "solid") -> None:
        self.arrows += [Arrow(way.box, box, visible(way.label, _MOST_LABEL), style) for way in dict.fromkeys(ways)]

    def draw(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        """The step in `frame`, reached by `ways`; returns the ways on."""
        guarded = node.conditional and node.kind != "condition" and node.config is not None
        if not guarded:
            return self._tried(node, frame, ways)
        question = self.box(frame, (bare((node.config and node.config.when) or ""),), "choice")
        self.link(ways, question)
        return [*self._tried(node, frame, [Port(question, "yes")]), Port(question, "no")]

    def _tried(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        """The step and those that take over from it."""
        on = failed = self._inside(node, frame, ways)
        for other in node.with_role("fallback"):
            failed = self._dashed(other, frame, failed, other.label)
            on = [*on, *failed]
        return on

    def _dashed(self, node: PlanNode, frame: Frame, ways: list[Port], label: str) -> list[Port]:
        """A step that is only sometimes come to, and why."""
        begun = len(self.arrows)
        on = self.draw(node, frame, [Port(way.box, label) for way in ways])
        boxes = {way.box for way in ways}
        self.arrows[begun:] = [
            Arrow(arrow.start, arrow.end, arrow.label, "dashed") if arrow.start in boxes else arrow
            for arrow in self.arrows[begun:]
        ]
        return on

    def _inside(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        if not node.with_role("member"):
            return self._leaf(node, frame, ways)
        inner = self._frame(node, frame)
        if node.kind in ("condition", "route"):
            return self._choice(node, inner, ways)
        if node.kind == "graph":
            return self._graph(node, inner, ways)
        if node.parallel:
            return self._parallel(node, inner, ways)
        return self._sequence(node, inner, ways)

    def _leaf(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        box = self.box(frame, (_name(node), node.kind if node.model is None else f"{node.kind}, {node.model}"))
        self.link(ways, box)
        for tool in node.with_role("tool"):
            self._dashed(tool, frame, [Port(box)], "tool")
        return [Port(box)]

    def _frame(self, node: PlanNode, frame: Frame) -> Frame:
        if node is self._root:  # the whole picture needs no frame
            return frame
        caption = ": ".join(part for part in (_name(node), phrase(node)) if part)
        inner = Frame(self._new_id("g"), visible(caption, _MOST_LABEL))
        frame.inside.append(inner)
        return inner

    def _sequence(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        first = len(self.arrows)
        on = ways
        for child in node.with_role("member"):
            on = self.draw(child, frame, on)
        if node.kind == "loop":
            again = [Port(way.box, way.label or "again") for way in on]
            entries = [arrow.end for arrow in self.arrows[first:] if Port(arrow.start, arrow.label) in ways]
            for entry in dict.fromkeys(entries):
                self.link(again, entry, "dashed")
        return on

    def _parallel(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        """Members side by side. Where many ways would meet many members, they meet in a point."""
        members, judges = node.with_role("member"), node.with_role("helper")
        ways = self._joined(ways, frame, len(members))
        on = [way for member in members for way in self.draw(member, frame, ways)]
        for judge in judges:
            on = self.draw(judge, frame, on)
        return on

    def _graph(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        members = node.with_role("member")
        ways = self._joined(ways, frame, sum(not member.waits_for for member in members))
        on: dict[int, list[Port]] = {}
        for at in sorted(range(len(members)), key=lambda at: members[at].wave):
            before = [way for need in members[at].waits_for for way in on.get(need, [])]
            on[at] = self.draw(members[at], frame, before or ways)
        needed = {need for member in members for need in member.waits_for}
        return [way for at in sorted(on) if at not in needed for way in on[at]]

    def _choice(self, node: PlanNode, frame: Frame, ways: list[Port]) -> list[Port]:
        for router in node.with_role("helper"):
            ways = self.draw(router, frame, ways)
        question = self.box(frame, (node.detail,), "choice")
        self.link(ways, question)
        on = [
            way for child in node.with_role("member") for way in self.draw(child, frame, [Port(question, child.label)])
        ]
        return [*on, Port(question, "else")] if node.kind == "condition" and node.conditional else on

    def _joined(self, ways: list[Port], frame: Frame, members: int) -> list[Port]:
        if len(ways) < 2 or members < 2:
            return ways
        point = self.box(frame, (), "join")
        self.link(ways, point)
        return [Port(point)]

    def _new_id(self, letter: str) -> str:
        self._ids += 1
        return f"{letter}{self._ids}"


def _name(node: PlanNode) -> str:
    """Without what is written at the arrow."""
    copies = f" x{node.copies}" if node.copies > 1 else ""
    return f"{node.name}{copies}" if node.role in ("member", "tool") or not node.label else title(node)


# Mermaid


_MERMAID_SHAPES: dict[Shape, tuple[str, str]] = {
    "step": ("[", "]"),
    "choice": ("{", "}"),
    "end": ("([", "])"),
    "join": ("((", "))"),
}


def _mermaid_inside(frame: Frame, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for part in frame.inside:
        if isinstance(part, Frame):
            yield f"{pad}subgraph {part.id}[{_mermaid_text(part.caption)}]"
            yield from _mermaid_inside(part, depth + 1)
            yield f"{pad}end"
        else:
            opening, closing = _MERMAID_SHAPES[part.shape]
            yield f"{pad}{part.id}{opening}{_mermaid_text(*part.lines)}{closing}"


def _mermaid_arrow(arrow: Arrow) -> str:
    line = "-->" if arrow.style == "solid" else "-.->"
    label = f"|{_mermaid_text(arrow.label)}|" if arrow.label else ""
    return f"{arrow.start} {line}{label} {arrow.end}"


_MERMAID_CODES = {ord(char): f"#{ord(char)};" for char in '"#<>&`*_~|\\{}[]()'}
"""Characters that mean something to Mermaid, or to the Markdown and HTML in its labels, as its own entity codes."""


def _mermaid_text(*lines: str) -> str:
    return '"' + ("<br/>".join(line.translate(_MERMAID_CODES) for line in lines) or " ") + '"'


# Graphviz


_DOT_SHAPES: dict[Shape, str] = {
    "step": "",
    "choice": ", shape=diamond, style=solid",
    "end": ", shape=oval, style=solid",
    "join": ", shape=point",
}


def _dot_inside(frame: Frame, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for part in frame.inside:
        if isinstance(part, Frame):
            yield f"{pad}subgraph cluster_{part.id} {{"
            yield f"{pad}  label={_dot_text(part.caption)};"
            yield from _dot_inside(part, depth + 1)
            yield f"{pad}}}"
        else:
            yield f"{pad}{part.id} [label={_dot_text(*part.lines)}{_DOT_SHAPES[part.shape]}];"


def _dot_arrow(arrow: Arrow) -> str:
    attributes = [f"label={_dot_text(arrow.label)}"] if arrow.label else []
    if arrow.style == "dashed":
        attributes.append("style=dashed")
    return f"{arrow.start} -> {arrow.end}" + (f" [{', '.join(attributes)}]" if attributes else "") + ";"


def _dot_text(*lines: str) -> str:
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
