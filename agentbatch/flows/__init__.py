"""The table of flows: the key that tells a group's kind, and where its config class and its builder are.

To add a flow: one file with `XConfig(GroupConfig)`, whose key is one no other flow has, and
`build(config, name, assembly) -> Runnable`, and one line here.
"""

from __future__ import annotations

from pydantic import BaseModel

KINDS: dict[str, tuple[str, str]] = {
    "then": ("agentbatch.flows.condition", "ConditionConfig"),
    "graph": ("agentbatch.flows.graph", "GraphConfig"),
    "loop": ("agentbatch.flows.loop", "LoopConfig"),
    "parallel": ("agentbatch.flows.parallel", "ParallelConfig"),
    "route": ("agentbatch.flows.route", "RouteConfig"),
    "sequence": ("agentbatch.flows.sequence", "SequenceConfig"),
}


KIND_NAMES = {"then": "condition"}
"""What a kind is called where its key alone says little."""


def kind_of(config: BaseModel) -> str:
    """The key that tells a group's kind, which only its class has."""
    return next(kind for kind in KINDS if kind in type(config).model_fields)


__all__ = ["KINDS", "KIND_NAMES", "kind_of"]
