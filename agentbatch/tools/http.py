"""The tool `http`: one request to a server that the config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.calls.http_call import HttpCall, HttpCallFields
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import ToolConfig, with_arguments
from agentbatch.tools.parameters import parameter_schema


class HttpToolConfig(ToolConfig):
    """An HTTP request as a tool."""

    http: HttpCallFields
    """The request."""


@record
class HttpTool:
    """Sends a request; the answer is the result."""

    spec: ToolSpec
    http: HttpCall

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """What of the answer the config wants."""
        return await self.http.send(with_arguments(scope, arguments).names, visit.span.traceparent)


def build(config: HttpToolConfig, name: str, assembly: Assembly) -> HttpTool:
    """The tool that `config` describes."""
    return HttpTool(
        ToolSpec(name, config.description, parameter_schema(config.parameters)),
        HttpCall.of(config.http, f"tools.{name}.http", assembly.transport("direct")),
    )
