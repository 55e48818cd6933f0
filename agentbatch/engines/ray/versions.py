"""What must be the same on every machine of a run: Ray itself, asked before a cluster is joined, and agentbatch."""

from __future__ import annotations

import importlib
import json
from typing import Any

from agentbatch import __version__
from agentbatch.errors import ConfigError

_ASK_S = 5.0


def refuse_other_ray(address: str) -> None:
    """See that a cluster has this process's version of Ray. Blocks, for some milliseconds.

    Joining would see to it as well, but between versions that are far apart it tries for 40 s, and can't say why. What
    is asked here is Ray's own business, so a version in which it stands elsewhere is joined as it always is.

    Args:
        address: HOST:PORT of its head.

    Raises:
        ConfigError: it has another.
    """
    try:
        ray: Any = importlib.import_module("ray")
        raylet: Any = importlib.import_module("ray._raylet")
        told = raylet.GcsClient(address=address).internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=_ASK_S)
        theirs = json.loads(told)["ray_version"]
    except Exception:  # whatever it is, joining has better words for it
        return
    if theirs != ray.__version__:
        raise ConfigError(
            f"the Ray cluster at {address} can't be joined: it has Ray {theirs}, this machine Ray {ray.__version__}."
            " Install the same version"
        )


def skew(agentbatch: str) -> str:
    """What to do about a machine's version of agentbatch; empty where it is this one."""
    if agentbatch == __version__:
        return ""
    return f"agentbatch {agentbatch} there, {__version__} here: {install_there()}"


def install_there() -> str:
    """How a machine gets this version."""
    return f"install agentbatch=={__version__} there"
