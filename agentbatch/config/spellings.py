"""Keys that other tools spell otherwise: read as ours, with a note."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from agentbatch.config.problems import Problem
from agentbatch.config.source import Origin
from agentbatch.config.yaml_tree import Path

SPELLINGS = {
    "system": "instructions",
    "system_prompt": "instructions",
    "instruction": "instructions",
    "api_base": "base_url",
    "max_rpm": "rpm",
    "num_retries": "retries",
    "max_retries": "retries",
    "semaphore": "max_concurrency",
    "response_format": "output_schema",
    "output_type": "output_schema",
    "mcpServers": "mcp_servers",
    "depends_on": "needs",
    "if": "when",
    "max_iter": "max_turns",
}


def respelled(
    section: dict[str, Any], path: Path, known: Container[str], origin: Origin
) -> tuple[dict[str, Any], list[str], list[Problem]]:
    """The section with our keys, notes about those that were others, and problems where both spellings stand.

    A spelling is read as ours only where `known`, the section's own keys, has ours and not the other.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    problems: list[Problem] = []
    for key, value in section.items():
        ours = SPELLINGS.get(key, key)
        if key in known or ours not in known:
            found[key] = value
        elif ours in section or ours in found:
            message = f"{key!r} and {origin.written((*path, ours))[-1]!r} are two spellings of {ours!r}"
            problems.append(
                origin.problem((*path, key), message, where=path, key=True, word=key, hint=f"keep {ours!r} alone")
            )
        else:
            note = f"{key!r} is read as {ours!r}"
            notes.append(origin.problem((*path, key), note, where=path, key=True, word=key).headline)
            origin.spelled[(*origin.written(path), ours)] = key
            found[ours] = value
    return found, notes, problems
