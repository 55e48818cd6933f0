"""Tables of cases, of which a few run every time and the rest where slow tests are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def cases(table: Mapping[str, Any] | Iterable[Any], *always: str) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`; all but those named are slow. A mere list's cases are their own names.

    A value that is a tuple gives several parameters.
    """
    named = table if isinstance(table, Mapping) else {str(one): one for one in table}
    assert set(always) <= set(named), f"no such case: {set(always) - set(named)}"
    parameters: list[Any] = []
    for name, value in named.items():
        marks = () if name in always else pytest.mark.slow
        parameters.append(pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name, marks=marks))
    return parameters
