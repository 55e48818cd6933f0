"""Plugins of pydantic are held back while our own models are made, and for no longer."""

import os

import pytest

from agentbatch.process import pydantic_plugins

VARIABLE = "PYDANTIC_DISABLE_PLUGINS"


def test_plugins_are_held_back_until_users_code_may_come(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    pydantic_plugins.hold_back()
    assert os.environ[VARIABLE] == "__all__"  # the rarest of its spellings
    pydantic_plugins.let_in()
    assert VARIABLE not in os.environ


def test_what_a_user_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "true")
    pydantic_plugins.hold_back()
    pydantic_plugins.let_in()
    assert os.environ[VARIABLE] == "true"
