"""What OpenAI's two APIs share: who serves them, how the key is sent, and a few shapes of requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from agentbatch.errors import ContentFilter
from agentbatch.models.base import ServedModelConfig
from agentbatch.models.credentials import ApiKey, HeaderName
from agentbatch.models.strict_schema import strict_schema
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse

OPENAI_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
TOOL_CHOICES = ("auto", "none", "required")
"""What `tool_choice` may say without naming a tool."""


class OpenAIServerConfig(ServedModelConfig):
    """A server of OpenAI's, or one that speaks like them."""

    api_key: ApiKey | None = None
    """Default: the variable OPENAI_API_KEY, and only for OpenAI's own server. Local servers need none."""
    auth: HeaderName = "bearer"
    """How the key is sent: `bearer`, or the name of a header, such as `api-key` for Azure."""
    api_version: str | None = None
    """Sent as the query `api-version`, which Azure wants."""

    @property
    def query(self) -> str:
        """The query of every request's URL."""
        return "" if self.api_version is None else urlencode({"api-version": self.api_version})


def output_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's schema, held to strictly where it can be.

    Source: https://platform.openai.com/docs/guides/structured-outputs
    """
    strict = strict_schema(schema)
    return {"name": "output", "schema": dict(schema) if strict is None else strict, "strict": strict is not None}


def arguments_of(arguments: Any) -> str:
    """A tool call's arguments as JSON text; some servers send the object itself, or nothing for none."""
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else orjson.dumps(arguments).decode()


def declined_answer(refusal: str, response: HttpResponse, request_id: str | None) -> ContentFilter:
    """The fault of an answer that the model declined in the words of `refusal`, or, without them, that was filtered."""
    words = f"the model declined: {visible(refusal, 500)}" if refusal else "the provider's filter cut the answer"
    return ContentFilter(words, http_status=response.status, request_id=request_id)
