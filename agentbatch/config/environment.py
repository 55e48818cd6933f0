"""`${VAR}` in the config's values, and the `.env` beside it.

The forms are those of Docker Compose (https://docs.docker.com/reference/compose-file/interpolation/): `${VAR}`,
`${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`, `${VAR?message}`, `${VAR:+instead}`, and `$$` for a dollar. What
stands inside Jinja's braces is Jinja's, and `${{ input.price }}` is a dollar before a template's value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from agentbatch.config.problems import KEY_NAME
from agentbatch.config.yaml_tree import parse_yaml
from agentbatch.record import record
from agentbatch.text.suggestions import did_you_mean

_JINJA_CLOSES = {"{{": "}}", "{%": "%}", "{#": "#}"}
_JINJA_OPENS = re.compile(r"\{[{%#]")
_MAX_NESTED = 16
_DOLLAR = re.compile(r"\$(?:\$|\{(?!\{|%|#))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REST = re.compile(r"(:?[-?+])")


@record
class Expanded:
    """A text with its variables filled in, and which they were: names and values that came from the environment."""

    text: str
    variables: Mapping[str, str]


STAND_IN = "(of the node: {})"
"""For the value of a variable that only the nodes of a cluster know."""


class StandIns(dict[str, str]):
    """An environment for a check that sends nothing: no key is missing, nor what must be set before a run (`:?`).

    `missing` says which were. A plain `${VAR}` may be a slip of the pen, and stays a problem.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.missing: dict[str, str] = {}

    def stand_in(self, name: str, message: str) -> str:
        """Something that passes for a URL and for a key."""
        self.missing[name] = message
        return "https://stands-in.invalid"


class AskedVariables(Mapping[str, str]):
    """Variables, and which of them were asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.asked: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._variables[name]
        self.asked[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def of_nodes(text: str) -> dict[str, str]:
    """Stand-ins for the variables that only the nodes of a cluster know: `engine: {secrets: {NAME: node_env}}`."""
    if "node_env" not in text:
        return {}
    data: Any = parse_yaml(text, _as_it_is).data
    engine: Any = cast("dict[str, Any]", data).get("engine") if isinstance(data, dict) else None
    secrets: Any = cast("dict[str, Any]", engine).get("secrets") if isinstance(engine, dict) else None
    if not isinstance(secrets, dict):
        return {}
    return {str(n): STAND_IN.format(n) for n, how in cast("dict[Any, Any]", secrets).items() if how == "node_env"}


def _as_it_is(at: object, value: str, place: object) -> None:
    """Fills in nothing."""


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file; none where there is no such file.

    Raises:
        ValueError: the file can't be read.
    """
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # late: most configs have no .env beside them

    try:
        return {name: value for name, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: can't be read: {error}") from None


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Fill in the variables of `text`, outside of Jinja's braces.

    Raises:
        ValueError: a variable is missing, or its message says so, or a `${` is none of the known forms. The message
            never holds a variable's value.
    """
    if "$" not in text:
        return Expanded(text, {})
    used: dict[str, str] = {}
    pieces: list[str] = []
    at = 0
    for start, end in _jinja_spans(text):
        pieces += [_fill(text[at:start], environ, used), text[start:end]]
        at = end
    pieces.append(_fill(text[at:], environ, used))
    return Expanded("".join(pieces), used)


def _jinja_spans(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while opening := _JINJA_OPENS.search(text, at):
        end = text.find(_JINJA_CLOSES[opening[0]], opening.end())
        if end < 0:
            return
        at = end + 2
        yield opening.start(), at


def _fill(text: str, environ: Mapping[str, str], used: dict[str, str]) -> str:
    pieces: list[str] = []
    at = 0
    while match := _DOLLAR.search(text, at):
        pieces.append(text[at : match.start()])
        if match[0] == "$$":
            pieces.append("$")
            at = match.end()
        else:
            at = _closing(text, match.end())
            pieces.append(_variable(text[match.end() : at - 1], environ, used))
    return "".join([*pieces, text[at:]])


def _closing(text: str, start: int) -> int:
    """The place after the brace that closes a `${` whose inside begins at `start`; defaults may hold others."""
    depth = 1
    for at in range(start, len(text)):
        if text.startswith("${", at):
            depth += 1
            if depth > _MAX_NESTED:
                raise ValueError(f"defaults are nested more than {_MAX_NESTED} deep")
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
    raise ValueError("a '${' is not closed; write '$${' for these characters themselves")


def _variable(inside: str, environ: Mapping[str, str], used: dict[str, str]) -> str:
    name = _NAME.match(inside)
    if name is None:
        raise ValueError(f"'${{{inside[:40]}}}' is no variable; write '$${{' for these characters themselves")
    value = environ.get(name[0])
    rest = inside[name.end() :]
    operator = _REST.match(rest)
    if operator is None and rest:
        raise ValueError(
            f"'${{{inside[:40]}}}' is no variable: expected ${{NAME}}, ${{NAME:-default}} or ${{NAME:?why}}"
        )
    sign, argument = (operator[0], rest[operator.end() :]) if operator else ("", "")
    there = bool(value) if sign.startswith(":") else value is not None
    if sign.endswith("+"):
        return _fill(argument, environ, used) if there else ""
    if there and value is not None:
        used[name[0]] = value
        return value
    if sign.endswith("-"):
        return _fill(argument, environ, used)
    message = _missing(name[0], value, argument, environ)
    if not isinstance(environ, StandIns) or not (sign.endswith("?") or KEY_NAME.search(name[0])):
        raise ValueError(message)
    used[name[0]] = environ.stand_in(name[0], message)
    return used[name[0]]


def _missing(name: str, value: str | None, message: str, environ: Mapping[str, str]) -> str:
    what = f"the environment variable {name} is {'not set' if value is None else 'empty'}"
    if message:
        return f"{what}: {message}"
    if value is not None:
        return what
    return what + (did_you_mean(name, environ) or f": set it, put it in .env, or write ${{{name}:-default}}")
