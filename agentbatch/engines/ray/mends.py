"""What keeps a run from a Ray, each in one line that says what to do about it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from agentbatch.errors import ConfigError

_JOIN_S = 5.0
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
"""As they stand twice in Ray's own message: the cluster's, and this process's."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A client's first words in HTTP/2 with an empty SETTINGS frame (RFC 9113, 3.4), which is what gRPC speaks."""

_FRAME_HEAD = 9
_SETTINGS = 4


def first_line(error: BaseException) -> str:
    """An error of Ray's without the pages that follow."""
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """What the traceback in an error of Ray's ends with."""
    lines = str(error).split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), type(error).__name__)


def joining_failed(failing: str, error: BaseException) -> ConfigError:
    """Why a Ray could not be started or joined. `failing` says which."""
    versions = _VERSIONS.findall(str(error))
    if len(versions) == 2:
        (ray, python), (our_ray, our_python) = versions
        return ConfigError(
            f"{failing}: it has Ray {ray} and Python {python}, this machine Ray {our_ray} and Python {our_python}."
            " Install the same versions of both"
        )
    if "Could not find any running Ray instance" in str(error):
        return ConfigError(
            f"{failing}: no Ray runs on this machine. Begin one with `ray start --head`, have this machine join one"
            " with `ray start --address=HEAD:6379`, or name a cluster's head with --address HOST:PORT"
        )
    return ConfigError(f"{failing}: {first_line(error).rstrip('.')}. {_mend(error)}")


def _mend(error: BaseException) -> str:
    text = str(error)
    if "InvalidAuthToken" in text or "AuthenticationError" in type(error).__name__:
        return "The cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as it was started with"
    if "object store" in text or "total available memory" in text:
        return "Give this machine or container more memory and a larger /dev/shm (docker run --shm-size=1g)"
    if isinstance(error, ConnectionError) or "onnect" in text:
        return "See that `ray start --head` runs there, and that its port can be reached from here"
    return "See whether `ray start --head` works by itself here"


async def reach(address: str) -> None:
    """See that something like the head of a Ray cluster listens there: Ray itself would try for minutes.

    Raises:
        ConfigError: nothing does, or it is no address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not _is_port(port) or "/" in host:
        raise ConfigError(
            f"engine.address: expected auto or HOST:PORT of the head's GCS, such as 10.0.0.1:6379, not {address!r}"
            + (" (Ray Client is slower, and ends with this connection)" if address.startswith("ray:") else "")
        )
    try:
        async with asyncio.timeout(_JOIN_S):
            is_head = await _speaks_grpc(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        why = f"no answer within {_JOIN_S:g} s" if isinstance(error, TimeoutError) else first_line(error)
        raise ConfigError(
            f"the Ray cluster at {address} can't be reached: {why}. See that `ray start --head` runs there, and that"
            " its port can be reached from here"
        ) from None
    if not is_head:
        raise ConfigError(
            f"the Ray cluster at {address} can't be joined: what listens there is no head of a cluster. Give the port"
            " that `ray start --head` names (6379), not the dashboard's (8265)"
        )


def _is_port(text: str) -> bool:
    return text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536


async def _speaks_grpc(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_PREFACE)
        head = await reader.readexactly(_FRAME_HEAD)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return False
    finally:
        writer.close()
    return head[3] == _SETTINGS


def check_store(package_bytes: int, stores: Sequence[tuple[str, float]]) -> None:
    """See that the config's package fits the object store of every node. `stores`: names of nodes and bytes.

    Raises:
        ConfigError: one is too small.
    """
    for name, room in stores:
        if package_bytes > room * 0.8:
            raise ConfigError(
                f"the object store of node {name} has {room / 1e6:.0f} MB, too little for the {package_bytes / 1e6:.0f}"
                " MB of files that go with the config: start Ray there with a larger --object-store-memory, or send"
                " less (engine.excludes)"
            )
