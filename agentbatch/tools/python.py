"""The tool `python`: a program that the model writes, run in a sandbox."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.parameters import parameter_schema
from agentbatch.tools.sandboxed import CodeRunner, SandboxFields, sandbox_faults

_PARAMETERS = {"code": {"type": "string", "description": "A whole program. What it prints is the result."}}


class PythonToolConfig(ToolConfig):
    """Runs Python programs of the model's in a sandbox: no network, no files but an empty `/tmp`."""

    python: SandboxFields
    """The sandbox; `{}` for its defaults."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why it can't be run here."""
        yield from sandbox_faults("python", self.python)


@record
class PythonTool:
    """Runs one program."""

    spec: ToolSpec
    runner: CodeRunner

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """What the program printed."""
        return await self.runner.run([sys.executable, "-I", "-"], arguments["code"])


def build(config: PythonToolConfig, name: str, assembly: Assembly) -> PythonTool:
    """The tool that `config` describes."""
    description = config.description or "Run a Python program without network. Nothing is kept between calls."
    return PythonTool(ToolSpec(name, description, parameter_schema(_PARAMETERS)), CodeRunner.of(config.python, config))
