"""Tables of cases, of which a few run every time and the rest where slow tests are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def cases(table: Mapping[str, Any] | Iterable[Any], *always: str) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: all but those named are slow. Of a mere list the cases are the names."""
    named = table if isinstance(table, Mapping) else {str(one): one for one in table}
    assert set(always) <= set(named), f"no such case: {set(always) - set(named)}"
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            id=name,
            marks=() if name in always else pytest.mark.slow,
        )
        for name, value in named.items()
    ]
