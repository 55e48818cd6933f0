"""What the tools share that run what a model wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentbatch.errors import CommandFault
from agentbatch.record import record
from agentbatch.settings import PositiveInt, Settings
from agentbatch.tools.base import TIMEOUT_S, ToolConfig
from agentbatch.tools.command import text_of
from agentbatch.transports.sandbox import Bounds, run_sandboxed, sandbox_problem


class SandboxFields(Settings):
    """How a model's code is run."""

    unsafe: bool = False
    """Run it without a sandbox, with all that you may do on this machine: its files, its network, your keys' files."""
    memory_mb: PositiveInt = 1024
    """Address space of each process."""
    files_mb: PositiveInt = 100
    """Of its `/tmp`, which is empty at the beginning of each call."""


def sandbox_faults(key: str, fields: SandboxFields) -> Iterator[tuple[str, str]]:
    """Why the code can't be run here."""
    problem = None if fields.unsafe else sandbox_problem()
    if problem is not None:
        yield key, f"{problem}; or write `{key}: {{unsafe: true}}` to run a model's code without a sandbox"


@record
class CodeRunner:
    """Runs a model's code; what it prints is the result."""

    bounds: Bounds
    max_bytes: int
    unsafe: bool

    @classmethod
    def of(cls, fields: SandboxFields, config: ToolConfig) -> CodeRunner:
        """The runner of a tool."""
        cpu = int(config.timeout or TIMEOUT_S) + 1
        return cls(Bounds(fields.memory_mb, cpu, fields.files_mb), config.max_output * 4, fields.unsafe)

    async def run(self, argv: list[str], stdin: str = "") -> Any:
        """What the code printed.

        Raises:
            CommandFault: it failed; the message has all it printed.
        """
        data = stdin.encode("utf-8", "replace")
        ended = await run_sandboxed(argv, data, self.bounds, self.max_bytes, unsafe=self.unsafe)
        printed = "\n".join(part for part in (text_of(ended), ended.stderr.text.strip()) if part)
        if ended.code != 0:
            how = f"exit code {ended.code}" if ended.code > 0 else f"killed by signal {-ended.code}"
            raise CommandFault(f"{how}\n{printed}".strip())
        return printed or "[nothing printed]"
