"""Functions as tasks of Ray's (`executor: ray`): the border to Ray from inside a worker.

Ray finds each call a node with room, and a process there. It repeats none: a process that dies costs its own call.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agentbatch.engines.ray.folder import unpack, unpacked_folder
from agentbatch.engines.ray.parcels import Assignment
from agentbatch.engines.ray.resources import asked_of_ray
from agentbatch.errors import FunctionFault
from agentbatch.files.plain_json import to_plain
from agentbatch.placement import ONE_CORE, Placement
from agentbatch.transports.function import TypedFunction, is_async, load_function
from agentbatch.transports.function_worker import answered, called


@dataclass(slots=True)
class TaskCall:
    """One call, as it travels: the function, its arguments, and what its process has to be given.

    Attributes:
        folder: the config's, inside its package.
        variables: for the process's environment. foreign_paths: the driver's folders, in which nothing is looked for.
    """

    function: str
    arguments: dict[str, Any]
    folder: str
    variables: dict[str, str]
    foreign_paths: tuple[str, ...]


class Tasks:
    """Makes the callers of a worker's functions. `package` is a reference to the config's package, named `digest`."""

    def __init__(self, assignment: Assignment, digest: str, package: list[Any]) -> None:
        self._assignment = assignment
        self._digest = digest
        self._package = package
        self._ray: Any = importlib.import_module("ray")
        self._remotes: dict[Placement, Any] = {}

    def caller(self, function: str, placement: Placement | None) -> TaskCaller:
        """What calls a function on whichever node has room."""
        placement = placement or ONE_CORE
        if placement not in self._remotes:
            self._remotes[placement] = self._remote(placement)
        rooms = [placement.room_on(labels, resources) for labels, resources in self._assignment.nodes]
        return TaskCaller(self, function, placement, max(1, sum(rooms)))

    def begin(self, function: str, placement: Placement, arguments: Mapping[str, Any]) -> Any:
        """Ray's reference to the call's answer."""
        assignment = self._assignment
        names = assignment.to_environment
        call = TaskCall(
            function,
            to_plain(dict(arguments)),
            str(Path(assignment.config).parent),
            {name: os.environ[name] for name in names if name in os.environ},
            assignment.foreign_paths,
        )
        return self._remotes[placement].remote(pickle.dumps(call, protocol=5), self._digest, self._package)

    def _remote(self, placement: Placement) -> Any:
        """The function as Ray calls it. Each that is made goes to every process, and is kept while the run goes."""
        options = asked_of_ray(dict(placement.resources)) | {"max_retries": 0, "retry_exceptions": False}
        if placement.labels:
            options["label_selector"] = dict(placement.labels)
        return self._ray.remote(name="function", **options)(run_task)

    def cancel(self, reference: Any) -> None:
        """End the call's process, or take it out of the queue."""
        self._ray.cancel(reference, force=True)


@dataclass(frozen=True, slots=True)
class TaskCaller:
    """Calls one function; see `FunctionCaller`."""

    tasks: Tasks
    function: str
    placement: Placement
    at_once: int | None

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """The function's result; a cancelled call ends its process.

        Raises:
            FunctionFault: the function raised, or its process died.
        """
        exceptions: Any = importlib.import_module("ray.exceptions")
        reference = await self._begun(arguments)
        try:
            answer: dict[str, Any] = pickle.loads(await asyncio.wrap_future(reference.future()))
        except asyncio.CancelledError:
            self.tasks.cancel(reference)
            raise
        except exceptions.RayTaskError as error:
            raise FunctionFault(f"{self.function}: {type(error.cause).__name__}: {error.cause}") from None
        except exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            raise FunctionFault(f"the process of {self.function} died: {first[:300]}") from None
        if "error" in answer:
            raise FunctionFault(answer["error"])
        return answer["result"]

    async def _begun(self, arguments: Mapping[str, Any]) -> Any:
        """Ray's reference; a call that is cancelled while Ray is asked ends as soon as there is one."""
        begun = asyncio.create_task(asyncio.to_thread(self.tasks.begin, self.function, self.placement, arguments))
        try:
            await asyncio.wait({begun})
        except asyncio.CancelledError:
            begun.add_done_callback(self._withdraw)
            raise
        return begun.result()

    def _withdraw(self, begun: asyncio.Task[Any]) -> None:
        if not begun.cancelled() and begun.exception() is None:
            self.tasks.cancel(begun.result())


def run_task(call: bytes, digest: str, package: list[Any]) -> bytes:
    """In a process of Ray's on any node: call the function; its answer as `answered` gives it."""
    job: TaskCall = pickle.loads(call)
    base = unpacked_folder(digest) if digest else Path("/")
    if base is None:
        base = unpack(digest, cast("Any", importlib.import_module("ray")).get(package[0]))
    sys.path[:] = [entry for entry in sys.path if entry and entry not in job.foreign_paths]
    os.environ.update(job.variables)
    return pickle.dumps(answered(lambda: _result(job, base / job.folder)), protocol=5)


def _result(job: TaskCall, folder: Path) -> Any:
    function = load_function(job.function, folder)
    return called(TypedFunction(function), job.arguments, on_loop=is_async(function))
