"""Every error of the project on one page, and the exit code of every end.

    AgentBatchError             has an exit code; the CLI prints its message and leaves
    ├── UsageError              what was asked for does not go together, or would destroy a file of the user's (2)
    ├── ConfigError             the config is wrong: every problem at once (2)
    ├── InputError              the inputs can't be read or don't fit what was begun (2)
    ├── OutputError             the results could not be written (74)
    ├── LockedError             another run holds the output (75)
    ├── RunStopped              a limit or a tripped breaker ended the run (3); the item it hits stays to do
    └── StepError               one step of one item failed; becomes data in that item's result
        ├── TransientError      worth another attempt
        │   ├── RateLimited, Overloaded, ServerFault, ConnectionFault (Unreachable), StepTimeout,
        │   └── BadResponse (BadContent)
        └── PermanentError      the same request would fail again
            ├── InputFault, TemplateFault, ConditionFault, BadRequest, AuthFault, QuotaFault, ContentFilter,
            ├── ContextLength, SchemaFault, ToolFault, MaxTurns, ItemCost, CommandFault, FunctionFault (HookFault),
            └── Refused, ReplayMiss, InternalFault

The class says whether to retry; nobody reads messages to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from agentbatch.messages import Usage


class ExitCode(IntEnum):
    """What the process tells its caller: the run's verdict."""

    OK = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 3
    INTERNAL = 70
    IO_ERROR = 74
    LOCKED = 75
    SIGHUP = 129
    SIGINT = 130
    SIGPIPE = 141
    SIGTERM = 143


class AgentBatchError(Exception):
    """Base of all errors this project raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class UsageError(AgentBatchError):
    """Options or files that do not go together: found before anything is read or written."""

    exit_code = ExitCode.USAGE


class ConfigError(AgentBatchError):
    """The config can't be run. The message holds every problem, each with its place and mend."""

    exit_code = ExitCode.USAGE


class InputError(AgentBatchError):
    """The inputs as a whole can't be used (one bad line is an `InputFault` of its item instead)."""

    exit_code = ExitCode.USAGE


class OutputError(AgentBatchError):
    """Results can't be kept, so no further call may be paid for."""

    exit_code = ExitCode.IO_ERROR


class LockedError(AgentBatchError):
    """Another run holds the output."""

    exit_code = ExitCode.LOCKED


class RunStopped(AgentBatchError):
    """A limit of the run was reached or a breaker tripped: the item at hand has no result and stays to do."""

    exit_code = ExitCode.STOPPED


class StepError(AgentBatchError):
    """One step of one item failed.

    Attributes:
        type: the word that stands in the result line's `error.type`.
        http_status: the server's status code, where there was one.
        retry_after: the least number of seconds the server asked to wait, where it did.
        retry: the server's own verdict (`x-should-retry`), which wins over the class's.
        request_id: the provider's id of the failed request, where it gave one.
        usage: what the failed answer used, where it says so: it was paid for all the same.
        headers: the headers of the server's answer, names in lower case.
    """

    type: ClassVar[str] = "internal"
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
        retry: bool | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.retry_after = retry_after
        self.retry = retry
        self.request_id = request_id
        self.usage: Usage | None = None
        self.headers = headers or {}

    @property
    def retryable(self) -> bool:
        return self.transient if self.retry is None else self.retry


class TransientError(StepError):
    """The next attempt may well succeed."""

    transient = True


class RateLimited(TransientError):
    """429: the endpoint refused because of its rate limit."""

    type = "rate_limited"


class Overloaded(TransientError):
    """503 or 529: the endpoint says it has too much to do."""

    type = "overloaded"


class ServerFault(TransientError):
    """500, 502, 504, 408, 409 or another answer that blames the server."""

    type = "server"


class ConnectionFault(TransientError):
    """No whole answer came: DNS, refused, reset, TLS, or a body that broke off.

    `unreachable`: no connection could be made at all, so nothing was sent and nothing can have been billed.
    """

    type = "connection"
    unreachable = False


class Unreachable(ConnectionFault):
    """DNS, a refused port, a connect timeout, TLS: the server was never spoken to."""

    unreachable = True


class StepTimeout(TransientError):
    """An attempt, an agent or an item took longer than it may."""

    type = "timeout"


class BadResponse(TransientError):
    """A 200 that is no valid answer: HTML, empty, cut JSON."""

    type = "bad_response"


class BadContent(BadResponse):
    """The server spoke as it does, and this answer is of no use: larger than allowed, without choices."""


class PermanentError(StepError):
    """Deterministic: the same request would fail again."""


class InputFault(PermanentError):
    """This input line can't be used."""

    type = "input"


class TemplateFault(PermanentError):
    """A template could not be rendered for this item."""

    type = "template"


class ConditionFault(PermanentError):
    """A condition raised, or a route matched nothing: the item fails closed."""

    type = "condition"


class BadRequest(PermanentError):
    """400, 404, 413, 422: the server understood and declined."""

    type = "bad_request"


class AuthFault(PermanentError):
    """401 or 403: the key is refused."""

    type = "auth"


class QuotaFault(PermanentError):
    """402 or `insufficient_quota`: the money is gone, waiting does not help."""

    type = "quota"


class ContentFilter(PermanentError):
    """The provider's filter, or the model itself, declined to answer."""

    type = "content_filter"


class ContextLength(PermanentError):
    """The request, or what was left for its answer, is longer than the model takes."""

    type = "context_length"


class SchemaFault(PermanentError):
    """The answer does not fit `output_schema`, even after its repair turn."""

    type = "output_schema"


class ToolFault(PermanentError):
    """A tool failed in a way its agent could not be told about."""

    type = "tool"


class MaxTurns(PermanentError):
    """The agent used all its turns without a final answer."""

    type = "max_turns"


class ItemCost(PermanentError):
    """The next request of an item could take it past what it may cost."""

    type = "max_cost"


class CommandFault(PermanentError):
    """A command agent's process failed."""

    type = "command"


class FunctionFault(PermanentError):
    """A user's function raised."""

    type = "function"


class HookFault(FunctionFault):
    """A hook of the user's raised, or returned what it should not."""


class Refused(PermanentError):
    """A hook of the user's refused a request, an answer or a tool call: raised by the hook, with the reason."""

    type = "refused"


class ReplayMiss(PermanentError):
    """A replayed run asks what was not asked when it was recorded."""

    type = "replay"


class InternalFault(PermanentError):
    """A fault of agentbatch itself, kept to the item it happened in."""

    type = "internal"
