"""The tool `list_files`: what a folder holds."""

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
from agentbatch.tools.files import PATH, Folder, RootFields, look, root_faults
from agentbatch.tools.parameters import parameter_schema
from agentbatch.transports.threads import Threads

_MOST = 1_000


class ListFilesToolConfig(ToolConfig):
    """Lists the files and folders in a folder."""

    list_files: RootFields
    """The folder."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it on this machine."""
        yield from root_faults("list_files", self.list_files, folder)


@record
class ListFilesTool:
    """Lists one folder."""

    spec: ToolSpec
    folder: Folder
    threads: Threads

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """One line for each entry: its name, folders with a slash, files with their size.

        Raises:
            ToolFault: there is no such folder inside.
        """
        return await look(self.threads, self._list, arguments["path"])

    def _list(self, path: str) -> str:
        entries = self.folder.entries(path)
        lines = [f"{name}/" if is_folder else f"{name}  {size:,} bytes" for name, is_folder, size in entries[:_MOST]]
        if len(entries) > _MOST:
            lines.append(f"[{len(entries) - _MOST:,} more]")
        return "\n".join(lines) or "[empty]"


def build(config: ListFilesToolConfig, name: str, assembly: Assembly) -> ListFilesTool:
    """The tool that `config` describes."""
    description = config.description or "List what a folder holds."
    spec = ToolSpec(name, description, parameter_schema({"path": {**PATH, "default": "."}}))
    return ListFilesTool(spec, Folder(assembly.folder / config.list_files.root), assembly.threads)
