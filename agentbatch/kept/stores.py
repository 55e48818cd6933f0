"""All that a run keeps beside its results, in one record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentbatch.kept.cache import ResponseCache
from agentbatch.kept.journal import Journal
from agentbatch.kept.tape import Tape
from agentbatch.results.artifacts import ArtifactFolder


@dataclass(frozen=True, slots=True)
class Stores:
    """Each None where there is none.

    Attributes:
        journal: finished calls of unfinished items.
        cache: answers by their requests, of other runs as well.
        artifacts: where files go that agents leave behind.
        tape: what is recorded, or replayed.
        batches: the file that tells which batches a provider has.
    """

    journal: Journal | None = None
    cache: ResponseCache | None = None
    artifacts: ArtifactFolder | None = None
    tape: Tape | None = None
    batches: Path | None = None


NO_STORES = Stores()
