"""A cluster of two Ray nodes on this machine: a head, and one with a label and a resource of its own.

`python ray_cluster.py` runs it until its stdin ends; `labelled_cluster` is that in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CLUSTER = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
"""The environment of whoever joins it."""


@contextmanager
def labelled_cluster(**environ: str) -> Iterator[str]:
    """The address of the head. The other node has the label `disk=ssd` and one `box`. `environ`: of its processes."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **CLUSTER, **environ},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield address
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _keep() -> None:
    from ray.cluster_utils import Cluster  # late: whoever only imports this file needs no Ray

    memory = 100_000_000
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": memory, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=2, labels={"disk": "ssd"}, resources={"box": 1}, object_store_memory=memory)
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    _keep()
