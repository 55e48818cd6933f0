"""Starting a private Ray without what only the operators of a cluster need."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

_LEFT_OUT = {"no_monitor": True, "include_log_monitor": False}


@contextmanager
def without_helpers() -> Generator[None, None, None]:
    """Let `ray.init` start no dashboard, autoscaler and log monitor: three of its Python processes, each of which
    imports Ray anew, and for the first of which it waits. With them the first result took 9.2 s of CPU, without 6.5 s.

    Ray has no option for this (`include_dashboard=False` starts a process without pages). What is replaced is its own
    business, so a version in which it looks otherwise starts as it always does.
    """
    try:
        parameter: Any = importlib.import_module("ray._private.parameter")
        services: Any = importlib.import_module("ray._private.services")
        params: Any = parameter.RayParams
        start: Any = services.start_api_server
        known = _LEFT_OUT.keys() <= signature(params).parameters.keys()
    except (ImportError, AttributeError, TypeError, ValueError):
        yield
        return
    if known:
        parameter.RayParams = partial(params, **_LEFT_OUT)
        services.start_api_server = _no_dashboard
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = params, start


def _no_dashboard(*_: object, **__: object) -> tuple[str, None]:
    """Its URL, and its process."""
    return "", None
