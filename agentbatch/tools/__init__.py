"""The table of tools: the key that tells a tool's kind, and where its config class and its builder are.

To add a kind: one file with `XToolConfig(ToolConfig)`, whose key is one no other kind has, and
`build(config, name, assembly) -> Tool`, and one line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentbatch.tools.base import ToolConfig

KINDS: dict[str, tuple[str, str]] = {
    "function": ("agentbatch.tools.function", "FunctionToolConfig"),
    "command": ("agentbatch.tools.command", "CommandToolConfig"),
    "http": ("agentbatch.tools.http", "HttpToolConfig"),
    "http_get": ("agentbatch.tools.http_get", "HttpGetToolConfig"),
    "read_file": ("agentbatch.tools.read_file", "ReadFileToolConfig"),
    "list_files": ("agentbatch.tools.list_files", "ListFilesToolConfig"),
    "search_files": ("agentbatch.tools.search_files", "SearchFilesToolConfig"),
    "python": ("agentbatch.tools.python", "PythonToolConfig"),
    "shell": ("agentbatch.tools.shell", "ShellToolConfig"),
    "agent": ("agentbatch.tools.agent", "AgentToolConfig"),
}


def config_class(kind: str) -> type[ToolConfig]:
    """The class of a kind's settings.

    Raises:
        KeyError: there is no such kind.
    """
    module, name = KINDS[kind]
    return getattr(import_module(module), name)


def module_of(config: ToolConfig) -> Any:
    """The module that the config's class stands in, which has its `build`."""
    return import_module(type(config).__module__)


__all__ = ["KINDS", "config_class", "module_of"]
