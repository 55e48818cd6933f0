"""Ray's own remarks on a cluster, such as that a node is dead, go to the log: it prints them on stdout."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Any

_LOGGER = logging.getLogger(__name__)


def hush() -> None:
    """From now on nothing of Ray's is printed here: stdout is for results, and a lost worker is told in our words.

    Ray has no option for this (`log_to_driver` is about the workers' output). What is replaced is its own business, so
    a version in which it looks otherwise prints as it always does.
    """
    worker: Any = importlib.import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _to_log


def _to_log(data: Mapping[str, Any], *_: object, **__: object) -> None:
    for line in data.get("lines", ()):
        _LOGGER.info("Ray says: %s", str(line).strip())
