"""What of a config shapes an answer, as hashes by part: results of another shape don't belong in the same file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel

from agentbatch.config.config import Config

_HOW_NOT_WHAT = frozenset(
    {
        "api_key",
        "api_version",
        "auth",
        "description",
        "disconnect",
        "endpoints",
        "env",
        "errors",
        "every",
        "extra_headers",
        "fallbacks",
        "hang",
        "headers",
        "latency",
        "max_concurrency",
        "max_restarts",
        "placement",
        "poll",
        "price",
        "provider_batch",
        "request_timeout",
        "retries",
        "rpm",
        "sessions",
        "start_timeout",
        "timeout",
        "tpm",
        "transport",
        "truncate",
    }
)
"""Keys of models, agents and groups that say how, when and how fast an answer comes, not which it is."""


def config_shape(config: Config, output_format: str = "agentbatch") -> dict[str, str]:
    """A hash for each part that shapes an answer: `{"agents.writer.prompt": "5f2d...", ...}`.

    Two runs whose shapes are equal would ask the same questions of the same models. Parts that are left at their
    defaults have no hash. Lines of two formats don't go into one file, so the format is a part, too.
    """
    shape: dict[str, str] = {}
    for section in ("models", "tools", "mcp_servers", "agents", "groups"):
        for name, part in cast("dict[str, BaseModel]", getattr(config, section)).items():
            shape |= {f"{section}.{name}.{key}": _digest(value) for key, value in _parts(part)}
    shape |= {f"vars.{name}": _digest(text) for name, text in config.vars.items()}
    shape |= {f"toolsets.{name}": _digest(tools) for name, tools in config.toolsets.items()}
    shape |= {f"checks.{name}": _digest(_plain(check)) for name, check in config.checks.items()}
    shape |= {f"hooks.{key}": _digest(value) for key, value in _parts(config.hooks)}
    if output_format != "agentbatch":
        shape["--output-format"] = _digest(output_format)
    shape["workflow"] = _digest(_plain(config.workflow))
    return shape


def _parts(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """The keys that were given and that shape an answer."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        told = key in ("provider", "kind", "model") or value != type(section).model_fields[key].get_default(
            call_default_factory=True
        )
        if key not in _HOW_NOT_WHAT and told:
            yield key, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {"": type(value).__name__, **dict(_parts(value))}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    return value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
