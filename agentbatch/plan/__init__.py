"""What a config would do with an item, as a tree and as pictures."""

from agentbatch.plan.planner import Plan, PlanNode, calls_of, make_plan

__all__ = ["Plan", "PlanNode", "calls_of", "make_plan"]
