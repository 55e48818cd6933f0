"""What can't be run on Ray as it stands in a config: said before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentbatch.agents.asking import AskingConfig
from agentbatch.errors import ConfigError
from agentbatch.placement import Placement
from agentbatch.tools.files import RootFields

if TYPE_CHECKING:
    from agentbatch.config import Config

_MEND = "set engine.working_dir to a folder that holds it, which then goes to every node"


def refuse(config: Config, placed: Mapping[str, Placement]) -> None:
    """See that the config can be run on other machines, with agents placed there.

    Raises:
        ConfigError: it can't.
    """
    if config.limits.shared is not None:
        raise ConfigError(
            "limits.shared is for runs on one machine; on Ray the workers of a run share its limits by themselves:"
            " take limits.shared out, or run with --engine local"
        )
    if placed and config.engine.limiter.mode == "static":
        raise ConfigError(
            f"agents.{next(iter(placed))}.placement needs limits that go where they are needed: take out"
            " engine.limiter.mode: static"
        )
    if config.limits.max_cost is not None and config.engine.limiter.mode == "static":
        raise ConfigError(
            "limits.max_cost can't be split into fixed parts: a lost worker's successor would spend its part again."
            " Take out engine.limiter.mode: static"
        )
    for key, folder in _tool_folders(config):
        if config.engine.address is not None and not _goes_along(config, folder):
            raise ConfigError(f"{key}: other machines do not have {folder!r}: {_MEND}")


def notes(config: Config) -> list[str]:
    """What may be missing on other machines."""
    if config.engine.address is None:
        return []
    asking = [(name, agent) for name, agent in config.agents.items() if isinstance(agent, AskingConfig)]
    return [
        f"agents.{name}.content_root: images and files that inputs name are not on other machines: {_MEND}"
        for name, agent in asking
        if any(part.text is None for part in agent.content) and not _goes_along(config, agent.content_root)
    ]


def _tool_folders(config: Config) -> Iterator[tuple[str, str]]:
    """The folders that tools look into, with their keys."""
    for name, tool in config.tools.items():
        for key in type(tool).model_fields:
            if isinstance(fields := getattr(tool, key), RootFields):
                yield f"tools.{name}.{key}.root", fields.root


def _goes_along(config: Config, folder: str) -> bool:
    """Whether nodes have a folder: it is sent, or its path is a whole one, which is then their own business."""
    if Path(folder).is_absolute():
        return True
    if config.engine.working_dir is None:
        return False
    sent = (config.folder / config.engine.working_dir).resolve()
    return (config.folder / folder).resolve().is_relative_to(sent)
