"""The other end: one request to a run, and its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from agentbatch.ctl.socket_place import connect, socket_path
from agentbatch.errors import InputError
from agentbatch.files.lock import read_holder

_PATIENCE_S = 10.0


def ask(results: Path, **request: object) -> dict[str, Any]:
    """What the run that writes these results says to the request.

    Raises:
        InputError: no run does, it can't be reached, or it refuses.
    """
    holder = read_holder(results)
    if holder is None:
        if not results.exists():
            raise InputError(f"{results}: there is no such file, and no run that writes it; name the results of a run")
        raise InputError(f"{results}: no run writes it now; `agentbatch results stats` says what is in it")
    try:
        with connect(socket_path(results), _PATIENCE_S) as connection, connection.makefile("rwb") as lines:
            lines.write(orjson.dumps(request) + b"\n")
            lines.flush()
            line = lines.readline()
    except FileNotFoundError as error:
        raise InputError(
            f"{results}: the run of pid {holder.pid} on {holder.host} does not listen: it is starting, or ending; ask"
            " again in a few seconds, on that machine"
        ) from error
    except OSError as error:
        raise InputError(
            f"{results}: the run of pid {holder.pid} on {holder.host} can't be reached: {error.strerror or error}; it"
            " listens only to its own user, on its own machine"
        ) from error
    if not line:
        raise InputError(f"{results}: the run of pid {holder.pid} hung up; it listens only to its own user")
    answer: dict[str, Any] = orjson.loads(line)
    if not answer.pop("ok"):
        raise InputError(f"{results}: {answer['error']}")
    return answer
