"""Whether the head of the cluster is there. Ray itself ends this process, without a word, a minute after it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_LOOK_S = 1.0
HEAD_GRACE_S = 25.0
"""Well before Ray's minute, so that what is in flight may end and be written."""


async def watch_head(listens: Callable[[], Awaitable[bool]], grace_s: float = HEAD_GRACE_S) -> float:
    """Knock every second; return when nobody has answered for so long: the seconds."""
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while True:
        if await listens():
            heard = loop.time()
        elif loop.time() - heard > grace_s:
            return loop.time() - heard
        await asyncio.sleep(_LOOK_S)
