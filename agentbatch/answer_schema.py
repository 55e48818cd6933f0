"""`output_schema`: an answer parsed as JSON and held against the schema, with words for the model to mend it by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from agentbatch.errors import SchemaFault

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
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
        fenced = _FENCED.fullmatch(text)
        try:
            value = orjson.loads(fenced[1] if fenced else text)
        except orjson.JSONDecodeError as error:
            raise SchemaFault(f"the answer is no valid JSON: {error}") from None
        errors = [f"{error.json_path}: {error.message[:300]}" for error in self._checker().iter_errors(value)]
        if errors:
            more = f"; and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
            raise SchemaFault(f"the answer does not fit output_schema: {'; '.join(errors[:_MOST_ERRORS])}{more}")
        return value

    def _checker(self) -> Validator:
        if self._validator is None:
            from jsonschema import Draft202012Validator  # late: only runs with a schema need it

            self._validator = Draft202012Validator(dict(self.document))
        return self._validator


def repair_request(misfit: SchemaFault) -> str:
    """The user turn that asks for the answer again."""
    return f"{misfit.message}.\nAnswer again with only the JSON value that fits the schema, and nothing else."
