"""The tool `read_file`: a text file inside a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.files import PATH, Folder, RootFields, look, root_faults, text_of
from agentbatch.tools.parameters import parameter_schema
from agentbatch.transports.threads import Threads

_MAX_BYTES = 50_000_000
_PARAMETERS = {
    "path": PATH,
    "first_line": {"type": "integer", "minimum": 1, "default": 1, "description": "The line to begin with."},
    "lines": {"type": "integer", "minimum": 1, "default": 2000, "description": "How many lines at most."},
}


class ReadFileToolConfig(ToolConfig):
    """Reads text files inside a folder."""

    read_file: RootFields
    """The folder."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it on this machine."""
        yield from root_faults("read_file", self.read_file, folder)


@record
class ReadFileTool:
    """Reads some lines of a file."""

    spec: ToolSpec
    folder: Folder
    threads: Threads

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """The lines, and how many more there are.

        Raises:
            ToolFault: there is no such text file inside the folder.
        """
        return await look(self.threads, self._read, arguments["path"], arguments["first_line"], arguments["lines"])

    def _read(self, path: str, first: int, count: int) -> str:
        data, size = self.folder.read(path, _MAX_BYTES)
        lines = text_of(data, path).splitlines(keepends=True)
        shown = lines[first - 1 : first - 1 + count]
        rest = len(lines) - (first - 1) - len(shown)
        notes = [f"[{rest:,} more lines]"] * (rest > 0) + [f"[{size - len(data):,} more bytes]"] * (size > len(data))
        return "".join(shown) + "".join(f"\n{note}" for note in notes)


def build(config: ReadFileToolConfig, name: str, assembly: Assembly) -> ReadFileTool:
    """The tool that `config` describes."""
    description = config.description or "Read a text file."
    spec = ToolSpec(name, description, parameter_schema(_PARAMETERS))
    return ReadFileTool(spec, Folder(assembly.folder / config.read_file.root), assembly.threads)
