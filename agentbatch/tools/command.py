"""The tool `command`: a program of the config's, with arguments of the model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.calls.command_line import CommandFields, CommandLine
from agentbatch.calls.output_form import read_output
from agentbatch.errors import ToolFault
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import ToolConfig, with_arguments
from agentbatch.tools.parameters import parameter_schema
from agentbatch.transports.command import Ended, run_command
from agentbatch.transports.process_tree import end_orphans

_BYTES_A_CHARACTER = 4
_MAX_JSON = 10_000_000


class CommandToolConfig(CommandFields, ToolConfig):
    """A program as a tool. Arguments that may begin with a dash belong behind a `--` in the command."""

    output: str = "text"
    """What of its output the model is given: `text`, `json`, `jsonl`, or a dotted path into the JSON."""
    cwd: str | None = None
    """Where it runs, relative to the config. Default: where the config stands."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it on this machine."""
        yield from self.command_faults(folder)
        if not (folder / (self.cwd or "")).is_dir():
            yield "cwd", f"there is no folder {self.cwd!r} beside the config"


@record
class CommandTool:
    """Runs a command; its output is the result."""

    spec: ToolSpec
    line: CommandLine
    cwd: Path
    output: str
    max_bytes: int

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """What the command wrote.

        Raises:
            CommandFault: it could not be started, or its exit code is not among `ok_codes`.
            ToolFault: its output is not what the config says.
        """
        command = self.line.render(with_arguments(scope, arguments).names, self.cwd)
        ended = await run_command(command, max_stdout=self.max_bytes)
        self.line.check(ended)
        return self._output(ended)

    def _output(self, ended: Ended) -> Any:
        if self.output == "text":
            return text_of(ended)
        try:
            return read_output(self.output, ended.stdout.text)
        except ValueError as error:
            raise ToolFault(f"the command's output: {error}") from None


def text_of(ended: Ended) -> str:
    """What a command wrote, and how much more it was."""
    text = ended.stdout.text.rstrip("\r\n")
    if ended.stdout.missing:
        return f"{text}\n[truncated: {ended.stdout.missing:,} more bytes]"
    return text


def build(config: CommandToolConfig, name: str, assembly: Assembly) -> CommandTool:
    """The tool that `config` describes."""
    end_orphans()
    as_text = config.output == "text"
    return CommandTool(
        spec=ToolSpec(name, config.description, parameter_schema(config.parameters)),
        line=CommandLine.of(config, f"tools.{name}", assembly.folder),
        cwd=assembly.folder / (config.cwd or ""),
        output=config.output,
        max_bytes=config.max_output * _BYTES_A_CHARACTER if as_text else _MAX_JSON,
    )
