"""Pydantic's plugins are there for users' models. For ours it need not look for any: that takes reading the metadata of
every installed package, 10 to 20 ms of a start.

Source: https://docs.pydantic.dev/latest/concepts/plugins/
"""

from __future__ import annotations

import os

_VARIABLE = "PYDANTIC_DISABLE_PLUGINS"
_OURS = "__all__"


def hold_back() -> None:
    """While our own models are made, nobody looks for plugins."""
    os.environ.setdefault(_VARIABLE, _OURS)


def let_in() -> None:
    """From now on code of users may be imported, with models that plugins are for."""
    if os.environ.get(_VARIABLE) == _OURS:
        del os.environ[_VARIABLE]
