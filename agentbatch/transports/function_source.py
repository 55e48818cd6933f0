"""What a function asks for, read from its module's source: where it runs, others may have what it imports, not here."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ONLY_BY_PLACE = inspect.Parameter.POSITIONAL_ONLY
_BY_PLACE_OR_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD


def function_like(name: str, folder: Path) -> Callable[..., Any] | None:
    """A function with the parameters of `module:name`, which does nothing; its module is not imported.

    Decorators are taken to leave the parameters as they are. None where there is no such `def` in a module beside the
    config or installed here.
    """
    module, _, wanted = name.partition(":")
    for path in _sources(module, folder):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        found = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        return next((_stub(each) for each in reversed(found) if each.name == wanted), None)
    return None


def _sources(module: str, folder: Path) -> Iterator[Path]:
    """The files in which Python would find the module, the first of which counts."""
    inside = Path(*module.split("."))
    for base in (*map(Path, sys.path), folder):
        for path in (base / inside / "__init__.py", base / inside.with_suffix(".py")):
            if path.is_file():
                yield path


def _stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Callable[..., Any]:
    """The same parameters, of which those with a default have one, and no line of the user's."""

    def stub(**_: Any) -> None:
        raise NotImplementedError(f"{function.name} does not run here")

    stub.__signature__ = inspect.Signature(list(_parameters(function.args)))  # pyright: ignore[reportFunctionMemberAccess]
    return stub


def _parameters(given: ast.arguments) -> Iterator[inspect.Parameter]:
    positional = [*given.posonlyargs, *given.args]
    first_default = len(positional) - len(given.defaults)
    for place, each in enumerate(positional):
        kind = _ONLY_BY_PLACE if place < len(given.posonlyargs) else _BY_PLACE_OR_NAME
        yield inspect.Parameter(each.arg, kind, default=None if place >= first_default else inspect.Parameter.empty)
    if given.vararg is not None:
        yield inspect.Parameter(given.vararg.arg, inspect.Parameter.VAR_POSITIONAL)
    for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        empty = inspect.Parameter.empty if default is None else None
        yield inspect.Parameter(each.arg, inspect.Parameter.KEYWORD_ONLY, default=empty)
    if given.kwarg is not None:
        yield inspect.Parameter(given.kwarg.arg, inspect.Parameter.VAR_KEYWORD)
