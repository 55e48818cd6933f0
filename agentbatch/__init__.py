"""agentbatch: a batch runner for LLM agents, at the command line and from Python.

from agentbatch import load, run_batch

for result in run_batch(load("config.yaml"), [{"id": "a", "text": "..."}]):
    print(result.id, result.output)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentbatch.api import Batch, run_batch
    from agentbatch.config import Config, load
    from agentbatch.errors import (
        AgentBatchError,
        ConfigError,
        InputError,
        LockedError,
        OutputError,
        RunStopped,
        UsageError,
    )
    from agentbatch.results.result_record import ResultRecord
    from agentbatch.summary import Summary

__version__ = "0.1.0"

_PLACES = {
    "Batch": "api",
    "run_batch": "api",
    "Config": "config",
    "load": "config",
    "AgentBatchError": "errors",
    "ConfigError": "errors",
    "InputError": "errors",
    "LockedError": "errors",
    "OutputError": "errors",
    "RunStopped": "errors",
    "UsageError": "errors",
    "ResultRecord": "results.result_record",
    "Summary": "summary",
}

__all__ = [
    "AgentBatchError",
    "Batch",
    "Config",
    "ConfigError",
    "InputError",
    "LockedError",
    "OutputError",
    "ResultRecord",
    "RunStopped",
    "Summary",
    "UsageError",
    "__version__",
    "load",
    "run_batch",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for: `import agentbatch` alone costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'agentbatch' has no attribute {name!r}")
    return getattr(import_module(f"agentbatch.{_PLACES[name]}"), name)
