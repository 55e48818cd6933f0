"""The table of checks: the key that tells a check's kind, and the module with its `build(config, where, assembly)`.

To add a kind: one file with a class that satisfies `Check` and its `build`, a key in `CheckConfig`, and one line here.
"""

from __future__ import annotations

KINDS: dict[str, str] = {
    "contains": "agentbatch.checks.contains",
    "not_contains": "agentbatch.checks.contains",
    "regex": "agentbatch.checks.regex",
    "equals": "agentbatch.checks.equals",
    "json_schema": "agentbatch.checks.json_schema",
    "range": "agentbatch.checks.number_range",
    "similar": "agentbatch.checks.similar",
    "condition": "agentbatch.checks.condition",
    "judge": "agentbatch.checks.judge",
}

__all__ = ["KINDS"]
