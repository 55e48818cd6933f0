"""What is said to who would change a limit on Ray: words that work when they are typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from workflow import config_of

from agentbatch.config import load
from agentbatch.ctl.fixed_limits import FixedLimits


def test_every_limit_it_knows_is_a_key_that_set_takes(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"a": {}}, groups={"g": {"sequence": ["a"], "max_concurrency": 2}})
    limits = FixedLimits(config, lambda: 0.0)
    assert "groups.g.max_concurrency" in limits.values()
    assert config.source is not None
    for key in limits.values():
        with pytest.raises(ValueError, match=re.escape(f"--set {key}=3")):
            limits.set(key, 3)
        load(config.source.path, [f"{key}=3"], {})


def test_a_key_that_set_does_not_take_is_not_told(tmp_path: Path) -> None:
    limits = FixedLimits(config_of(tmp_path, {"a": {}}), lambda: 0.0)
    with pytest.raises(ValueError, match=r"'max_cost' is no limit, did you mean 'limits\.max_cost'"):
        limits.set("max_cost", 0.01)
