"""From a run's config to its engine on Ray: what workers are sent, and which Ray they run on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentbatch.config.cache_choice import CacheUse, cache_path
from agentbatch.engines.ray.cluster import Cluster, protect_private
from agentbatch.engines.ray.crew import Crew
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.folder import Package, pack
from agentbatch.engines.ray.parcels import Assignment
from agentbatch.engines.ray.placements import placements
from agentbatch.engines.ray.refusals import notes, refuse
from agentbatch.errors import ConfigError
from agentbatch.kept.journal import JournalFile
from agentbatch.placement import Placement
from agentbatch.process.control import Control

if TYPE_CHECKING:
    from agentbatch.config import Config


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What a run on Ray needs to know beside its config.

    Attributes:
        log_level: messages of workers from this level on are wanted.
        cache: which response cache is used.
        artifacts: the folder for files that agents leave behind.
        budget: US dollars left of the run's cap; None for no cap.
    """

    log_level: int
    cache: CacheUse
    artifacts: Path | None
    budget: float | None = None


def open_ray_engine(
    config: Config, terms: RunTerms, *, control: Control, watchers: Watchers, journal: JournalFile | None
) -> RayEngine:
    """The engine; Ray starts, or is joined, when it is entered.

    Raises:
        ConfigError: Ray is not installed, or the config can't be run on other machines.
    """
    if config.engine.address is None:
        protect_private()
    placed = {} if config.engine.address is None else placements(config)
    refuse(config, placed)
    package = _in_place(config) if config.engine.address is None else pack(config)
    cluster = Cluster()
    assignment = _assignment(config, terms, package, watchers, placed, keeps_calls=journal is not None)

    def left_usd() -> float | None:
        told = watchers.tally.counts().cost_usd + engine.unfinished_usd
        return None if terms.budget is None else max(0.0, terms.budget - told)

    crew = Crew(
        config,
        cluster,
        lambda worker, node, share, placement: replace(
            assignment, worker=worker, node=node, share=share, placement=placement
        ),
        placed,
        (package.digest, package.data),
        left_usd,
    )
    engine = RayEngine(config, cluster=cluster, crew=crew, control=control, watchers=watchers, journal=journal)
    engine.notes += notes(config)
    return engine


def _in_place(config: Config) -> Package:
    """Nothing to send: workers of a private Ray read the same files.

    Raises:
        ConfigError: the config was not loaded from a file, or names a folder that is not there.
    """
    if config.source is None:
        raise ConfigError("a config that was not loaded from a file can't be read by other processes")
    folder = (config.folder / (config.engine.working_dir or ".")).resolve()
    if not folder.is_dir():
        raise ConfigError(f"engine.working_dir: there is no folder {folder}")
    return Package("", str(config.source.path.absolute()), b"")


def _assignment(
    config: Config,
    terms: RunTerms,
    package: Package,
    watchers: Watchers,
    placed: dict[str, Placement],
    *,
    keeps_calls: bool,
) -> Assignment:
    """What all workers are told; each is given its own name."""
    source = config.source
    assert source is not None  # else `pack` had refused it
    of_node = tuple(name for name, how in config.engine.secrets.items() if how == "node_env")
    sent = {name: value for name, value in source.variables.items() if name not in of_node}
    for name in config.engine.secrets:
        if name not in sent and name not in of_node:
            raise ConfigError(
                f"engine.secrets.{name}: the environment variable {name} is not set here: set it, or put it in .env,"
                " or say node_env where the nodes have it"
            )
    return Assignment(
        worker="",
        node="",
        config=package.config,
        overrides=source.overrides,
        variables=sent,
        of_node=of_node,
        to_environment=tuple(sent),
        window=_window(config),
        include=frozenset(config.output.include),
        traces=watchers.traces is not None,
        follow=bool(watchers.spans),
        log_level=terms.log_level,
        journal=keeps_calls,
        cache=(terms.cache, str(cache_path(config).absolute())),
        artifacts=_artifacts(config, terms),
        grace_s=config.engine.node_grace,
        ttl_s=config.engine.limiter.ttl,
        budget=terms.budget,
        driver_pid=os.getpid() if config.engine.address is None else None,
        placed=placed,
        foreign_paths=(str(config.folder.resolve()), str(Path.cwd())) if package.digest else (),
    )


def _window(config: Config) -> int | None:
    asked = [n for n in (config.engine.per_node_concurrency, config.limits.max_concurrency) if n is not None]
    return min(asked) if asked else None


def _artifacts(config: Config, terms: RunTerms) -> str | None:
    """Where workers put files: of a private Ray the folder itself; from other machines they are sent."""
    if terms.artifacts is None:
        return None
    return str(terms.artifacts.absolute()) if config.engine.address is None else ""
