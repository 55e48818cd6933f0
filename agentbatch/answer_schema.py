"""`output_schema`: an answer parsed as JSON and held against the schema, with words for the model to mend it by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import orjson

from agentbatch.errors import SchemaFault
from agentbatch.text.patterns import schema_checker

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FENCE = "```"
_MOST_ERRORS = 5


class AnswerSchema:
    """A JSON Schema (draft 2020-12) that answers must fit. The schema itself is checked when the config is loaded."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validator: Validator | None = None

    def parse(self, text: str) -> Any:
        """The answer's JSON value; a Markdown fence around it is tolerated.

        Raises:
            SchemaFault: it is no JSON, or does not fit; the message says where and why.
        """
        try:
            value = orjson.loads(_unfenced(text))
        except orjson.JSONDecodeError as error:
            raise SchemaFault(f"the answer is no valid JSON: {error}") from None
        errors = self._errors(value)
        if errors:
            more = "; and more" if len(errors) > _MOST_ERRORS else ""
            raise SchemaFault(f"the answer does not fit output_schema: {'; '.join(errors[:_MOST_ERRORS])}{more}")
        return value

    def _errors(self, value: Any) -> list[str]:
        """The first errors, and one more where there are more."""
        try:
            found = islice(self._checker().iter_errors(value), _MOST_ERRORS + 1)
            return [f"{error.json_path}: {error.message[:300]}" for error in found]
        except RecursionError:
            return ["$: the answer is nested too deeply to be checked"]

    def _checker(self) -> Validator:
        if self._validator is None:
            from referencing import Registry  # late: only runs with a schema need it

            # a registry of its own: a `$ref` must not lead to the network, where the default one looks
            self._validator = schema_checker(self.document, registry=Registry[Any]())
        return self._validator


def _unfenced(text: str) -> str:
    """What stands in a Markdown fence, where that is all there is. No regular expression: on a model that writes
    nothing but newlines one took hours."""
    bare = text.strip()
    if len(bare) < 2 * len(_FENCE) or not (bare.startswith(_FENCE) and bare.endswith(_FENCE)):
        return text
    language, newline, inside = bare[len(_FENCE) : -len(_FENCE)].partition("\n")
    return inside if newline and language.strip() in ("", "json") else text


def checked_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, if it is one.

    Raises:
        ValueError: it is no JSON Schema of draft 2020-12, or refers to something outside itself.
    """
    from jsonschema import Draft202012Validator  # late, as above
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(document)
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.json_path}: {error.message[:300]}") from None
    for reference in _texts_under("$ref", document):
        if not _leads_somewhere(reference, document):
            raise ValueError(f"the reference {reference!r} leads nowhere in the schema")
    return document


def _texts_under(key: str, value: Any) -> Iterator[str]:
    """Every text that stands under a key of that name, at any depth."""
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if isinstance(mapping.get(key), str):
            yield mapping[key]
        value = list(mapping.values())
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts_under(key, each)


def _leads_somewhere(reference: str, document: Any) -> bool:
    if not reference.startswith("#/"):
        return reference == "#" or reference[1:] in _texts_under("$anchor", document)
    found = document
    for part in unquote(reference[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name) if isinstance(found, list) else name]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return True


def repair_request(misfit: SchemaFault) -> str:
    """The user turn that asks for the answer again."""
    return f"{misfit.message}.\nAnswer again with only the JSON value that fits the schema, and nothing else."
