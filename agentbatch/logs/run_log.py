"""What of a run is logged, and where: to a person on stderr, and to a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agentbatch.logs.json_log import JsonLog
from agentbatch.record import record

_OURS: Final = "agentbatch"


@record
class LogChoice:
    """How much is logged. `verbose` adds one level to what a person gets and to what the file gets.

    What other libraries log in detail stays out of both: it may hold whole requests.
    """

    file: Path | None = None
    verbose: bool = False

    @property
    def person_level(self) -> int:
        """Warnings; with `verbose` what fails and what is tried again, too."""
        return logging.INFO if self.verbose else logging.WARNING

    @property
    def file_level(self) -> int:
        """What fails and what is tried again; with `verbose` every step."""
        return logging.DEBUG if self.verbose else logging.INFO

    @property
    def lowest_level(self) -> int:
        """Of the records that anybody gets."""
        return self.person_level if self.file is None else self.file_level


@contextmanager
def run_log(choice: LogChoice, redact: Callable[[bytes], bytes] = bytes) -> Generator[JsonLog | None]:
    """Log as chosen while a run goes; gives the file's handler, if there is a file.

    Raises:
        OutputError: the file can't be opened.
    """
    root, ours = logging.getLogger(), logging.getLogger(_OURS)
    before = root.level, ours.level
    handler = None if choice.file is None else JsonLog(choice.file, redact)
    root.setLevel(max(choice.lowest_level, logging.INFO))
    ours.setLevel(choice.lowest_level)
    if handler is not None:
        handler.setLevel(choice.file_level)
        root.addHandler(handler)
    try:
        yield handler
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])
        if handler is not None:
            root.removeHandler(handler)
            handler.close()
