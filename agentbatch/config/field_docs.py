"""The docstring under each config field, read from its source: the code is the reference, and start-up pays nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent

from agentbatch.settings import Settings


def field_docs(kind: type[Settings]) -> dict[str, str]:
    """What stands under each field of a section's class and of its bases, by the field's name."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, Settings) and base is not Settings:
            docs.update(_documented(base))
    return docs


def all_sections() -> dict[str, type[Settings]]:
    """Every section class that is imported, by its name."""
    found: dict[str, type[Settings]] = {}
    waiting: list[type[Settings]] = [Settings]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            found[kind.__name__] = kind
            waiting.append(kind)
    return found


def _documented(kind: type[Settings]) -> Iterator[tuple[str, str]]:
    body = ast.parse(dedent(inspect.getsource(kind))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(statements):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                yield name, inspect.cleandoc(doc)
            case _:
                pass
