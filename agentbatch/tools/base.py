"""The contract of a tool, and what the configs of all tools share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field

from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.settings import Duration, PositiveInt, Settings
from agentbatch.step import Visit
from agentbatch.tools.parameters import parameter_schema

TIMEOUT_S = 60.0
MAX_OUTPUT = 20_000
"""Characters of a tool's result that the model is given, where the config says nothing."""


def _checked(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    parameter_schema(parameters)
    return parameters


class ToolConfig(Settings):
    """One tool. Its kind is told by the key that says what it does."""

    description: str = ""
    """What the model is told about it."""
    parameters: Annotated[dict[str, Any] | None, AfterValidator(_checked)] = None
    """Its arguments: a JSON Schema of type object, or in short `{city: string, days: integer?}`."""
    timeout: Duration | None = None
    """One call. Waiting for a permit does not count. Default: 60 s; an agent that is a tool has only its own limits."""
    max_concurrency: PositiveInt | None = None
    """Calls at once, over all items."""
    max_output: PositiveInt = MAX_OUTPUT
    """Characters of the result that the model is given; of a longer one the beginning, and how much is missing."""
    retries: int = Field(default=0, ge=0, le=100)
    """How often to call again after a failure, before the model is told of it."""


class Tool(Protocol):
    """Something a model can have done.

    `call` is given arguments that fit the schema, once per call, with no permit to take and no time to keep: that is
    the business of its `Offer`. It returns any value; it raises a `StepError` whose message the model is told. Whatever
    else it raises is a bug. A cancelled call leaves nothing running behind.
    """

    @property
    def spec(self) -> ToolSpec:
        """What the model is told: name, description, JSON Schema of the arguments."""
        ...

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """Do it once. `scope` are the names its templates may see beside `args`; `visit` is the call's own."""
        ...


def with_arguments(scope: Scope, arguments: Mapping[str, Any]) -> Scope:
    """What a tool's templates see: the names its agent sees, and `args`."""
    return scope.plus("args", arguments)
