"""The real program in real processes, against real servers and real files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end.project import Project
from end_to_end.provider import Provider, running

from agentbatch.kept.begun_calls import table_path


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A model's endpoint that answers every request well until it is told otherwise."""
    with running(Provider()) as provider:
        yield provider


@pytest.fixture
def project(tmp_path: Path, provider: Provider) -> Iterator[Project]:
    """A config with one agent on that endpoint."""
    project = Project(tmp_path, provider.url)
    yield project
    table_path(project.results).unlink(missing_ok=True)  # of a run that was killed and not continued
