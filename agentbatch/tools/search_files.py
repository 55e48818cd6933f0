"""The tool `search_files`: lines of files that contain a text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.files.folders import Outside
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.tools.base import TIMEOUT_S, ToolConfig
from agentbatch.tools.files import Folder, RootFields, look, root_faults
from agentbatch.tools.parameters import parameter_schema
from agentbatch.transports.threads import Threads

_MOST_LINES = 200
_LINE = 300
_MAX_BYTES = 5_000_000
_PARAMETERS = {
    "text": {"type": "string", "minLength": 1, "description": "What to look for; upper and lower case are alike."},
    "files": {"type": "string", "default": "*", "description": "Only in files whose path fits, such as *.py."},
}


class SearchFilesToolConfig(ToolConfig):
    """Looks for a text in the files of a folder. The text is no pattern: a model's pattern could run for ever."""

    search_files: RootFields
    """The folder."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it on this machine."""
        yield from root_faults("search_files", self.search_files, folder)


@record
class SearchFilesTool:
    """Looks through a folder and all below it, for at most `seconds`."""

    spec: ToolSpec
    folder: Folder
    threads: Threads
    seconds: float

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """Lines such as `path:12: text`."""
        return await look(self.threads, self._search, arguments["text"], arguments["files"])

    def _search(self, text: str, pattern: str) -> str:
        found: list[str] = []
        for line in self._lines(text.casefold(), pattern, time.perf_counter() + self.seconds):
            if len(found) >= _MOST_LINES:
                found.append("[there are more]")
                break
            found.append(line)
        return "\n".join(found) or "[nothing found]"

    def _lines(self, wanted: str, pattern: str, deadline: float) -> Iterator[str]:
        for path in self.folder.walk():
            if time.perf_counter() > deadline:  # the thread of a call that was given up must end, too
                return
            if fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern):
                yield from self._lines_of(path, wanted)

    def _lines_of(self, path: str, wanted: str) -> Iterator[str]:
        try:
            data, _ = self.folder.read(path, _MAX_BYTES)
        except (Outside, OSError):
            return
        if b"\0" in data[:8000]:
            return
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if wanted in line.casefold():
                yield f"{path}:{number}: {line.strip()[:_LINE]}"


def build(config: SearchFilesToolConfig, name: str, assembly: Assembly) -> SearchFilesTool:
    """The tool that `config` describes."""
    description = config.description or "Find the lines of files that contain a text."
    spec = ToolSpec(name, description, parameter_schema(_PARAMETERS))
    folder = Folder(assembly.folder / config.search_files.root)
    return SearchFilesTool(spec, folder, assembly.threads, config.timeout or TIMEOUT_S)
