"""MCP servers in a config: the section `mcp_servers`, of the same shape as a `.mcp.json`."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from agentbatch.calls.http_call import check_url
from agentbatch.settings import Duration, PositiveInt, Settings
from agentbatch.tools.base import MAX_OUTPUT, TIMEOUT_S

_STDIO = ("command", "args", "env", "cwd")
_HTTP = ("url", "headers")


class McpServerConfig(Settings):
    """One MCP server: a program (`command`), or a URL. Agents name it, or some of its tools, under `tools`."""

    type: Literal["stdio", "http", "streamable-http", "streamableHttp"] | None = None
    """Not needed: `command` or `url` says it. Servers of the older kind `sse` are not supported."""
    command: str | None = None
    """The program. With a slash it stands relative to the config, without one it is looked for in PATH."""
    args: list[str] = Field(default_factory=list[str])
    """Its arguments. No shell reads them."""
    env: dict[str, str] | list[str] = Field(default_factory=dict[str, str])
    """What its environment holds beside PATH, HOME, LANG and TMPDIR: names to pass on, or names and values."""
    cwd: str | None = None
    """Where it runs, relative to the config. Default: where the config stands."""
    url: Annotated[str, AfterValidator(check_url)] | None = None
    """Where it is served by streamable HTTP. Redirects are followed within its own origin only."""
    headers: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    """Sent with every request to it."""
    sessions: PositiveInt = 1
    """Sessions at once, each of a program a process of its own. More are opened when all are busy."""
    max_concurrency: PositiveInt | None = 16
    """Calls at once, over all items."""
    timeout: Duration | None = TIMEOUT_S
    """One call. Waiting for a permit does not count."""
    start_timeout: Duration = 30.0
    """From its start to its first answer."""
    max_restarts: int = Field(default=20, ge=0)
    """How often in a run a server that ended is started again; then the run stops, its items stay to do."""
    max_output: PositiveInt = MAX_OUTPUT
    """Characters of a result that the model is given; of a longer one the beginning, and how much is missing."""
    retries: int = Field(default=0, ge=0, le=100)
    """How often to call again after a failure, before the model is told of it."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has either `command`, the program to start, or `url`")
        strangers = [key for key in (_HTTP if self.command is not None else _STDIO) if getattr(self, key)]
        if strangers:
            kind = "a program" if self.command is not None else "behind a url"
            raise ValueError(f"a server that is {kind} has no `{strangers[0]}`")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise ValueError(f"a server of type {self.type} has `{'command' if self.type == 'stdio' else 'url'}`")
        return self


def split_name(name: str) -> tuple[str, str]:
    """Server and pattern that a name among an agent's tools stands for: `clock` is `clock.*`."""
    server, _, pattern = name.partition(".")
    return server, pattern or "*"


def chosen(pattern: str, names: list[str]) -> Iterator[str]:
    """The tools that a pattern such as `get_*` stands for, in the server's order."""
    return (name for name in names if fnmatchcase(name, pattern))
