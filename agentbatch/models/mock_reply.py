"""The mock's reply templates: Jinja over the request, with a `pick` that chooses by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentbatch.models.mock_draws import number

NAMES = ("prompt", "system", "messages", "files", "model", "n")
"""What a reply's template may read."""


def is_template(source: str) -> bool:
    """Whether the text has anything for Jinja to do."""
    return "{{" in source or "{%" in source or "{#" in source


class ReplyTemplate:
    """One text of the config. A text without Jinja in it costs nothing to render.

    Raises:
        ValueError: the template is not valid Jinja, or could not be rendered for a request.
    """

    def __init__(self, source: str, *, where: str) -> None:
        self._where = where
        self.constant = None if is_template(source) else source.removesuffix("\n")
        self._template = None if self.constant is not None else _compile(source, where)

    def render(self, key: bytes, names: Mapping[str, Any]) -> str:
        """The text for one request; `key` is what `n` and `pick` are chosen by."""
        if self._template is None:
            return self.constant or ""
        from jinja2 import TemplateError  # late: a mock without templates does not need Jinja

        try:
            return self._template.render(names, n=number(key, b"n") >> 16, mock_key=key)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(_located(self._where, error)) from error


def _compile(source: str, where: str) -> Any:
    from jinja2 import TemplateSyntaxError, pass_context  # late: see `render`
    from jinja2.runtime import Context

    from agentbatch.templates.references import find_references
    from agentbatch.templates.sandbox import template_environment
    from agentbatch.text.suggestions import did_you_mean

    @pass_context
    def pick(context: Context, options: Sequence[Any]) -> Any:
        return options[number(context["mock_key"] + repr(options).encode(), b"pick") % len(options)]

    shared = template_environment()
    environment = shared.overlay()
    filters: dict[str, Any] = {**shared.filters, "pick": pick}
    environment.filters = filters
    try:
        read = find_references(environment.parse(source)).all
        unknown = next((path[0] for path in sorted(read) if path[0] not in NAMES), None)
        if unknown is not None:
            known = did_you_mean(unknown, NAMES) or f"; a reply knows {', '.join(NAMES)}"
            raise ValueError(_located(where, f"unknown name {unknown!r}{known}"))
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ValueError(_located(where, error)) from error


def _located(where: str, error: Exception | str) -> str:
    message = str(error).rstrip(".")
    return f"{where}: {message}" if where else message
