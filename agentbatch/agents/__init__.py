"""The table of agent kinds: the word under `kind`, and where its config class and its builder are.

To add a kind: one file with `XConfig(AgentConfig)` and `build(config, name, assembly) -> Runnable`, and one line here.
"""

from __future__ import annotations

KINDS: dict[str, tuple[str, str]] = {
    "a2a": ("agentbatch.agents.a2a", "A2aConfig"),
    "chat": ("agentbatch.agents.chat", "ChatConfig"),
    "command": ("agentbatch.agents.command", "CommandConfig"),
    "function": ("agentbatch.agents.function", "FunctionConfig"),
    "http": ("agentbatch.agents.http", "HttpConfig"),
    "react": ("agentbatch.agents.react", "ReactConfig"),
    "request": ("agentbatch.agents.request", "RequestConfig"),
}

__all__ = ["KINDS"]
