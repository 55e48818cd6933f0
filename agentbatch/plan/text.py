"""A plan as text for people: a tree of at most 80 columns, the models, the limits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from agentbatch.plan.calls import ONE_CALL
from agentbatch.plan.planner import ModelUse, Plan, PlanNode
from agentbatch.text.redact import visible

WIDTH = 80
_MOST_WORDS = 300
"""Characters of one part of a step's description; a longer condition is cut."""

_ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "×": "x"})


def render_tree(plan: Plan, *, unicode: bool = True, width: int = WIDTH) -> str:
    """The plan for a terminal; ends in a newline. Without `unicode` it is all ASCII."""
    lines = [*_node_lines(plan.root, "", "", width)]
    if plan.models:
        lines += ["", *_model_lines(plan.models, width)]
    if plan.limits:
        lines += ["", *wrapped("limits  ", ", ".join(plan.limits), width=width)]
    return drawn("\n".join(lines) + "\n", unicode=unicode)


def drawn(text: str, *, unicode: bool) -> str:
    """Text with lines of Unicode, or all in ASCII."""
    return text if unicode else text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def title(node: PlanNode) -> str:
    """A step's name, after what it is to the step above: `case bug: coder`, `writer ×5`."""
    own = node.name + (f" ×{node.copies}" if node.copies > 1 else "")
    return visible(f"{node.label}: {own}" if node.label and own else node.label or own, 120)


def describe(node: PlanNode) -> str:
    """What a step is, on one line: `chat, model fast, 16 at once, when input.market == 'EU'`."""
    return ", ".join(visible(part, _MOST_WORDS) for part in _parts(node))


def phrase(node: PlanNode) -> str:
    """What kind of step it is: `loop up to 3 times`, `parallel, one must succeed`."""
    kind = "" if node.kind in ("condition", "for_each") else node.kind
    between = " " if node.kind in ("loop", "route") else ", "
    return between.join(part for part in (kind, node.detail) if part)


def _parts(node: PlanNode) -> Iterator[str]:
    yield phrase(node)
    yield from node.limits
    if node.conditional and node.kind != "condition" and node.config is not None:
        yield f"when {' '.join((node.config.when or '').split())}"
    if node.children and node.calls != ONE_CALL:
        yield str(node.calls)


def after(node: PlanNode, siblings: Sequence[PlanNode]) -> str:
    """In a graph, whom a step waits for: `after writer and critic`."""
    names = [siblings[at].name for at in node.waits_for]
    return "after " + " and ".join((", ".join(names[:-1]), names[-1]) if names[:-1] else names) if names else ""


def _node_lines(node: PlanNode, head: str, below: str, width: int, waits: str = "") -> Iterator[str]:
    """A step's lines: `head` stands before the first, `below` before all others."""
    words = ", ".join(part for part in (describe(node), waits) if part)
    bar = "│   " if node.children else "    "
    yield from wrapped(f"{head}{title(node)}  ", words, below + bar, width)
    children = sorted(node.children, key=lambda child: (child.role == "fallback", child.wave))
    for child in children:
        branch, further = ("└─ ", "   ") if child is children[-1] else ("├─ ", "│  ")
        wave = f"{child.wave}. " if child.wave else ""
        yield from _node_lines(child, below + branch + wave, below + further, width, after(child, node.children))


def _model_lines(models: Iterable[ModelUse], width: int) -> Iterator[str]:
    models = list(models)
    names = max(len(model.name) for model in models)
    yield "models"
    for model in models:
        shown = model.provider if model.model == model.provider else f"{model.provider} {model.model}"
        asked = str(model.calls) if model.agents else "stands in"
        words = [shown, *model.limits, asked]
        if model.fallbacks:
            words.append(f"falls back to {', '.join(model.fallbacks)}")
        head = f"  {visible(model.name, 40):<{min(names, 40)}}  "
        yield from wrapped(head, visible(", ".join(words), _MOST_WORDS), width=width)


def wrapped(head: str, words: str, below: str | None = None, width: int = WIDTH) -> list[str]:
    """`head` and `words`, broken into lines; `below` stands before all lines but the first, by default as blanks."""
    below = " " * len(head) if below is None else below
    room = max(20, width - len(head))
    first, *_ = textwrap.wrap(words, room, break_on_hyphens=False) or [""]
    rest = words[len(first) :].strip()
    lines = textwrap.wrap(rest, max(20, width - len(below)), break_on_hyphens=False)
    return [f"{head}{first}".rstrip(), *(f"{below}{line}" for line in lines)]
