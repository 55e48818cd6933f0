"""Templates and conditions: Jinja2, sandboxed, strict. Only the config is a template; inputs and answers are data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from jinja2 import Template as JinjaTemplate
from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.parser import Parser

from agentbatch.errors import ConditionFault, TemplateFault
from agentbatch.templates.references import References, find_references
from agentbatch.templates.sandbox import NotRun, Sandbox, condition_environment, template_environment
from agentbatch.text.suggestions import did_you_mean

MAX_RENDERED = 10_000_000
"""Characters: a longer prompt is a mistake, and would be paid for."""

NOT_RUN: Any = NotRun(name="a step")
"""What a declared agent or group is to templates before it has run: `{{ critic.output.issues }}` is empty then."""

_MARKUP = re.compile(r"\{\{|\{%|\{#")
_NEWLINE = re.compile(r"\r\n?")


class TemplateProblem(ValueError):
    """A template that can't be compiled. `line` counts from 1 inside the template."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


class Template:
    """A compiled template.

    Attributes:
        found: the dotted paths it reads, such as `("critic", "output", "issues")`.

    Raises:
        TemplateProblem: it is no valid template.
    """

    def __init__(self, source: str, *, where: str = "", max_size: int = MAX_RENDERED) -> None:
        self.where = where
        self._max_size = max_size
        self._constant: str | None = None
        self.found = References({})
        if _MARKUP.search(source) is None:
            self._constant = _NEWLINE.sub("\n", source).removesuffix("\n")
        else:
            environment = template_environment()
            tree = _parse(environment, source)
            self.found = find_references(tree)
            self._compiled = _compile(environment, tree)

    def render(self, names: Mapping[str, Any]) -> str:
        """Fill in. `names` are all names the template may see.

        Raises:
            TemplateFault: a name or field is missing, an expression fails, or the text is longer than allowed.
        """
        if self._constant is not None:
            return self._constant
        context = self._compiled.new_context(cast("dict[str, Any]", names))
        try:
            return self._joined(self._compiled.root_render_func(context))
        except TemplateFault:
            raise
        except Exception as error:  # the border to whatever the template's expressions may raise
            raise TemplateFault(_failure(self.where, self.found, error, names)) from error

    def _joined(self, pieces: Iterable[str]) -> str:
        taken: list[str] = []
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self._max_size:
                raise TemplateFault(
                    f"{self.where or 'template'}: the text is longer than {self._max_size:,} characters"
                )
            taken.append(piece)
        return "".join(taken)


class Condition:
    """A compiled bare expression, such as `critic.output.score >= 0.8`; `{{ }}` around it are dropped.

    Raises:
        TemplateProblem: it is no valid expression.
    """

    def __init__(self, source: str, *, where: str = "") -> None:
        self.where = where
        environment = condition_environment()
        tree = _parse_expression(environment, _bare(source))
        self.found = find_references(tree)
        body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)]
        self._compiled = _compile(environment, nodes.Template(body, lineno=1))

    def value(self, names: Mapping[str, Any]) -> Any:
        """What the expression gives.

        Raises:
            ConditionFault: a name or field is missing, or the expression fails.
        """
        context = self._compiled.new_context(cast("dict[str, Any]", names))
        try:
            for _ in self._compiled.root_render_func(context):
                pass
            value = context.vars["result"]
            _ = value == value  # a missing field is found here rather than by whoever reads the value
        except Exception as error:  # the border to whatever the expression may raise
            raise ConditionFault(_failure(self.where, self.found, error, names)) from error
        return value

    def holds(self, names: Mapping[str, Any]) -> bool:
        """Whether the expression's value is true.

        Raises:
            ConditionFault: a name or field is missing, or the expression fails: it is neither true nor false.
        """
        return bool(self.value(names))


class Value:
    """A template whose value keeps its type where it is one bare `{{ expression }}`; any other is text.

    Raises:
        TemplateProblem: it is no valid template.
    """

    def __init__(self, source: str, *, where: str = "") -> None:
        text = source.strip()
        bare = text.startswith("{{") and text.endswith("}}") and "{{" not in text[2:] and "{%" not in text
        self._made: Condition | Template = Condition(text, where=where) if bare else Template(source, where=where)

    def of(self, names: Mapping[str, Any]) -> Any:
        """The value.

        Raises:
            ConditionFault, TemplateFault: a name or field is missing, or the expression fails.
        """
        return self._made.value(names) if isinstance(self._made, Condition) else self._made.render(names)


def _bare(source: str) -> str:
    text = source.strip()
    if text.startswith("{{") and text.endswith("}}"):
        return text[2:-2]
    return text


def _parse(environment: Sandbox, source: str) -> nodes.Template:
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        raise _problem(environment, error) from None
    except (RecursionError, ValueError, SyntaxError, OverflowError) as error:
        raise TemplateProblem(f"not a template: {error}") from None
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise TemplateProblem("a template stands alone: it can't include, import or extend another", node.lineno)
    return tree


def _parse_expression(environment: Sandbox, source: str) -> nodes.Expr:
    try:
        parser = Parser(environment, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateProblem("a condition is one bare expression, such as input.market == 'EU'")
    except TemplateSyntaxError as error:
        raise _problem(environment, error) from None
    except (RecursionError, OverflowError) as error:
        raise TemplateProblem(f"not an expression: {error}") from None
    tree.set_environment(environment)
    return tree


def _compile(environment: Sandbox, tree: nodes.Template) -> JinjaTemplate:
    try:
        code = environment.compile(tree)
    except TemplateSyntaxError as error:
        raise _problem(environment, error) from None
    except (RecursionError, ValueError, SyntaxError, OverflowError) as error:
        raise TemplateProblem(f"not a template: {error}") from None
    return environment.template_class.from_code(environment, code, environment.globals)


_UNKNOWN = re.compile(r"No (filter|test) named '(.*)'")


def _problem(environment: Sandbox, error: TemplateSyntaxError) -> TemplateProblem:
    message = error.message or "not a template"
    unknown = _UNKNOWN.match(message)
    if unknown is not None:
        kind, name = unknown.groups()
        known = environment.filters if kind == "filter" else environment.tests
        message = f"unknown {kind} {name!r}{did_you_mean(name, known)}"
    return TemplateProblem(message.rstrip("."), error.lineno)


def _failure(where: str, found: References, error: Exception, names: Mapping[str, Any]) -> str:
    """Where, what, and for a missing name the nearest one that is there."""
    message = str(error) or type(error).__name__
    absent = [path[0] for path in sorted(found.all) if path[0] not in names and repr(path[0]) in message]
    if absent and message.startswith("unknown name"):
        message += did_you_mean(absent[0], names)
    return f"{where}: {message}" if where else message
