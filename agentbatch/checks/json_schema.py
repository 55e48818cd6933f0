"""`json_schema`: a schema that an answer must fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.answer_schema import AnswerSchema
from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict, as_text
from agentbatch.checks.config import CheckConfig
from agentbatch.errors import SchemaFault
from agentbatch.record import record


@record
class Fits:
    """Holds an answer against the schema; of a text, the JSON that it is."""

    schema: AnswerSchema

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if it fits."""
        try:
            self.schema.parse(as_text(value))
        except SchemaFault as misfit:
            return Verdict.of(False, misfit.message.replace("output_schema", "the schema"))
        return Verdict.of(True, "")


def build(config: CheckConfig, where: str, assembly: Assembly) -> Fits:
    """The check that `config` describes."""
    return Fits(AnswerSchema(config.json_schema or {}))
