"""The tool `shell`: a command line that the model writes, run in a sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.errors import ToolFault
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.parameters import parameter_schema
from agentbatch.tools.sandboxed import CodeRunner, SandboxFields, sandbox_faults

_PARAMETERS = {"command": {"type": "string", "description": "A command line for /bin/sh."}}


class ShellToolConfig(ToolConfig):
    """Runs command lines of the model's in a sandbox: no network, no files but an empty `/tmp`."""

    shell: SandboxFields
    """The sandbox; `{}` for its defaults."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why it can't be run here."""
        yield from sandbox_faults("shell", self.shell)


@record
class ShellTool:
    """Runs one command line."""

    spec: ToolSpec
    runner: CodeRunner

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """What the command line printed."""
        if "\0" in arguments["command"]:
            raise ToolFault("the command line holds a NUL character")
        return await self.runner.run(["/bin/sh", "-c", arguments["command"]])


def build(config: ShellToolConfig, name: str, assembly: Assembly) -> ShellTool:
    """The tool that `config` describes."""
    description = config.description or "Run a command line without network. Nothing is kept between calls."
    return ShellTool(ToolSpec(name, description, parameter_schema(_PARAMETERS)), CodeRunner.of(config.shell, config))
