"""Which response cache a run uses: the config's section, and what the command line says about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentbatch.kept.cache import ResponseCache

if TYPE_CHECKING:
    from agentbatch.config.config import Config

CacheUse = Literal["as configured", "off", "refresh"]


def cache_path(config: Config | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The config's own cache file, else the user's (https://specifications.freedesktop.org/basedir-spec/latest/)."""
    if config is not None and config.cache.path is not None:
        return config.folder / config.cache.path
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "agentbatch" / "responses.sqlite"


def open_run_cache(config: Config, use: CacheUse) -> ResponseCache | None:
    """The cache of one run; None where there is to be none.

    Raises:
        OutputError: its file can't be used.
    """
    if use == "off" or not config.cache.enabled:
        return None
    return ResponseCache(cache_path(config), ttl=config.cache.ttl, refresh=use == "refresh")
