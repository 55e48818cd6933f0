"""A folder that is named and not there is refused on a private Ray, too, where nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from workflow import config_of

from agentbatch.engines.ray.opening import open_ray_engine
from agentbatch.errors import ConfigError
from agentbatch.process.control import Control

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")


def test_it_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"a": {}}, engine={"kind": "ray", "working_dir": "nosuch"})
    nothing = cast("Any", None)
    with pytest.raises(ConfigError, match=r"engine\.working_dir: there is no folder .*nosuch"):
        open_ray_engine(config, nothing, control=Control(), watchers=nothing, journal=None)
