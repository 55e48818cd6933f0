"""The table of flows: the key that tells a group's kind, and where its config class and its builder are.

To add a flow: one file with `XConfig(GroupConfig)`, whose key is one no other flow has, and
`build(config, name, assembly) -> Runnable`, and one line here.
"""

from __future__ import annotations

KINDS: dict[str, tuple[str, str]] = {
    "parallel": ("agentbatch.flows.parallel", "ParallelConfig"),
    "sequence": ("agentbatch.flows.sequence", "SequenceConfig"),
}

__all__ = ["KINDS"]
