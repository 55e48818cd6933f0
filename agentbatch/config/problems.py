"""What is wrong with a config, each problem with its place, the line itself, a caret and a mend."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agentbatch.record import record

_SHOWN = 200
"""Problems in one message; of more, only the number."""
_EXCERPT = 140
"""Characters of a source line around its caret."""


@record
class SourceText:
    """A file as problems quote it. `name` is what the user called it."""

    name: str
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str) -> SourceText:
        return cls(name, tuple(re.split(r"\r\n|\n|\r", text)))


@record
class Problem:
    """One thing to mend.

    Attributes:
        message: what is wrong; never a value that came from the environment.
        source: the file it is in.
        line: from 1; 0 where it is about the file as a whole.
        column: from 1.
        width: how many characters the caret underlines.
        where: the dotted path of the part that is wrong: `agents.writer`.
        hint: what was expected, or how to mend it.
    """

    message: str
    source: SourceText
    line: int = 0
    column: int = 0
    width: int = 1
    where: str = ""
    hint: str = ""

    @property
    def headline(self) -> str:
        """`config.yaml:12:5: agents.writer: unknown key 'promt'`."""
        place = f"{self.source.name}:{self.line}:{self.column}" if self.line else self.source.name
        return ": ".join(part for part in (place, self.where, self.message) if part)

    def __str__(self) -> str:
        lines = [self.headline]
        if 0 < self.line <= len(self.source.lines):
            lines += _excerpt(self.source.lines[self.line - 1], self.line, self.column, self.width)
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


def report(problems: Iterable[Problem]) -> str:
    """All problems as one message, in the order of their lines."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (problem.source.name, problem.line, problem.column))
    shown = [str(problem) for problem in ordered[:_SHOWN]]
    if len(ordered) > _SHOWN:
        shown.append(f"... and {len(ordered) - _SHOWN} more")
    if len(ordered) > 1:
        shown.append(f"{len(ordered)} problems")
    return "\n".join(shown)


def _excerpt(line: str, number: int, column: int, width: int) -> list[str]:
    text = masked(line.replace("\t", " "))
    start = 0 if len(text) <= _EXCERPT else max(0, min(column - 1 - _EXCERPT // 2, len(text) - _EXCERPT))
    shown = "".join(char if char.isprintable() else "?" for char in text[start : start + _EXCERPT])
    gutter = f"{number:>5} | "
    caret = " " * (column - 1 - start) + "^" * max(1, min(width, len(shown) - (column - 1 - start)))
    return [(gutter + shown).rstrip(), " " * 5 + " | " + caret]


KEY_NAME = re.compile(r"(?i)(^|[-_])(key|apikey|token|secret|password|passwd|authorization|credentials?)$")
"""A name whose value is a secret: `api_key`, `x-api-key`, `Authorization`, `GITHUB_TOKEN`."""

_WRITTEN_KEY = re.compile(
    r"(?i)([\w-]*(?:key|token|secret|password|passwd|authorization|credentials?)[\"']?\s*[:=]\s*)"
    r"(\"[^\"]*\"?|'[^']*'?|\$\{[^}]*\}?|[^\s,{}\[\]\"'][^,{}\[\]]*)"
)
_LOOKS_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|AIza|AKIA|xox[a-z])[-_]?[A-Za-z0-9_-]{10,}|eyJ[\w-]{10,}[\w.-]*"
)

_LOGIN_IN_URL = re.compile(r"(?<=://)[^\s\"']+(?=@)")


def masked(line: str) -> str:
    """A line of a config as it may be shown: what looks like a key is starred out, of the same length."""

    def stars(match: re.Match[str]) -> str:
        value = match[2]
        return match[1] + (value if "${" in value or value.isdigit() else "*" * len(value))

    def login(match: re.Match[str]) -> str:
        return match[0] if "${" in match[0] else "*" * len(match[0])

    line = _LOGIN_IN_URL.sub(login, _WRITTEN_KEY.sub(stars, line))
    return _LOOKS_SECRET.sub(lambda match: "*" * len(match[0]), line)
