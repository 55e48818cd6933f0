"""The border to Ray: only it, `tasks`, `versions`, `local_raylet`, `lean_start` and `hushed` call it. Errors are ours.

Ray is an extra, and untyped: it is imported when a run wants it, and what comes from it is `Any` until it leaves here.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agentbatch.engines.ray.actors import StationActor
from agentbatch.engines.ray.hushed import hush
from agentbatch.engines.ray.lean_start import without_helpers
from agentbatch.engines.ray.leases.actor import BankActor
from agentbatch.engines.ray.local_raylet import end_processes, ended, refuse_no_node
from agentbatch.engines.ray.mends import first_line, joining_failed, last_line, reach
from agentbatch.engines.ray.resources import asked_of_ray
from agentbatch.engines.ray.versions import install_there, refuse_other_ray
from agentbatch.errors import ConfigError
from agentbatch.transports.threads import Raised, Threads

_INSTALL = "pip install 'agentbatch[ray]'"
_OBJECT_STORE_BYTES = 150_000_000
_INLINE_BYTES = 8_000_000
"""Results up to this size (else 0.1 MB) come in the answer: to read a store that has died ends the driver."""
_KNOCK_S = 2.0


class WorkerGone(Exception):
    """The worker's process is no more, for certain."""


class WorkerCrashed(WorkerGone):
    """Its process ended on a machine that is alive: what it worked on may be why."""


class WorkerUnfit(WorkerGone):
    """Nor would another on that machine live: what it is made of is not there. The text says what to do."""


class WorkerUnheard(Exception):
    """The worker did not answer this time."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, or what Ray takes for one. `cores` are those Ray may give away."""

    id: str
    address: str
    name: str
    cores: float
    labels: Mapping[str, str]
    resources: Mapping[str, float]
    is_head: bool


@dataclass(frozen=True, slots=True)
class Remote:
    """A worker process, by its handle."""

    handle: Any

    async def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        """Call one of its methods.

        Raises:
            WorkerGone: it has died. WorkerUnfit: so would every other there.
            WorkerUnheard: it can't be reached now, or did not answer within `timeout` seconds.
            AgentBatchError: what the method itself raised.
        """
        exceptions: Any = importlib.import_module("ray.exceptions")
        try:
            async with asyncio.timeout(timeout):
                return await getattr(self.handle, method).remote(*arguments)
        except TimeoutError:
            raise WorkerUnheard(f"no answer within {timeout:g} s") from None
        except exceptions.ActorDiedError as error:
            raise _died(error) from None
        except exceptions.RayTaskError as error:
            raise cast("Exception", error.cause) from None
        except exceptions.RayError as error:
            raise WorkerUnheard(first_line(error)) from None

    async def tell(self, method: str, *arguments: Any, timeout: float = 5.0) -> None:
        """Call a method that does not matter much to miss."""
        try:
            await self.call(method, *arguments, timeout=timeout)
        except (WorkerGone, WorkerUnheard):
            pass


class Cluster:
    """A connection to Ray. `open_private` or `join` it; `close` ends what was begun."""

    def __init__(self) -> None:
        self._ray = _import_ray()
        self._folder: Path | None = None
        self._open = False
        self._threads = Threads()  # of its own: a call to a Ray that has lost its head may never return
        self.lost = False
        """The head, or the raylet of this machine, is gone: nothing more is asked of Ray."""
        self._raylet = ""

    @property
    def private(self) -> bool:
        """Whether this Ray is ours alone."""
        return self._folder is not None

    @property
    def version(self) -> str:
        """Of Ray."""
        return str(self._ray.__version__)

    async def open_private(self, workers: int) -> None:
        """Start a Ray on this machine for this run alone.

        Raises:
            ConfigError: it does not start.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="agentbatch-ray-"))
        with without_helpers():
            await self._init(
                "a private Ray can't be started here",
                address="local",
                num_cpus=max(workers, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(self._folder),
                _system_config={"max_direct_call_object_size": _INLINE_BYTES},
            )

    async def join(self, address: str) -> None:
        """Connect to a running cluster.

        Raises:
            ConfigError: there is none, it is of another version, or this machine is no node of it.
        """
        failing = "the Ray cluster at {} can't be joined"
        try:
            head = await self.apart(lambda: _head_of(address))
        except Exception as error:
            raise joining_failed(failing.format(address), error) from None
        await reach(head)
        await self.apart(lambda: refuse_other_ray(head))
        await self.apart(lambda: refuse_no_node(head))
        await self._init(failing.format(head), address=head)

    async def _init(self, failing: str, **options: Any) -> None:
        try:
            # in a thread: it blocks, and from the main thread it would replace the handler of SIGTERM
            begun = await self.apart(lambda: self._ray.init(log_to_driver=False, logging_level="ERROR", **options))
        except (Exception, SystemExit) as error:
            await self.close()
            raise joining_failed(failing, error) from None
        hush()
        self._open = True
        self._raylet = str(begun.address_info["raylet_socket_name"])

    async def close(self) -> None:
        """Leave the cluster; a private one ends."""
        if self._open and self.lost:
            atexit.unregister(self._ray.shutdown)  # it would wait for the head until Ray ends this process
            if self.private:
                await self.apart(end_processes)
        elif self._open:
            await self.apart(self._ray.shutdown)
        self._open = False
        self._threads.close()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def nodes(self) -> list[Node]:
        """The nodes that Ray holds for alive."""
        found: list[dict[str, Any]] = await self.apart(self._ray.nodes)
        return [_node(each) for each in found if each["Alive"]]

    @property
    def head(self) -> str:
        """HOST:PORT of the head, where all nodes report."""
        return str(self._ray.get_runtime_context().gcs_address)

    async def head_listens(self) -> bool:
        """Whether somebody answers there."""
        try:
            async with asyncio.timeout(_KNOCK_S):
                _, writer = await _connect(self.head)
            writer.close()
        except (OSError, TimeoutError):
            return False
        return True

    async def raylet_ended(self) -> None:
        """Return when the raylet of this machine has ended."""
        await ended(self._raylet)

    def put(self, data: bytes) -> Any:
        """Keep bytes where every node can get them; the reference keeps them."""
        return self._ray.put(data)

    def start_bank(self, ttl_s: float, budget: float | None, follows: bool) -> Remote:
        """The actor that lends limits, on the driver's own node: they are lost together."""
        strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
        here = self._ray.get_runtime_context().get_node_id()
        actor = self._ray.remote(
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=256,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(here, soft=False),
        )(BankActor)
        return Remote(actor.remote(ttl_s, budget, follows))

    def start_worker(self, node: Node, resources: Mapping[str, float]) -> Remote:
        """A new worker process on a node, with these resources for itself.

        Ray never repeats a call of ours: the one retry layer is not here.
        """
        strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
        actor = self._ray.remote(
            **asked_of_ray(resources),
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=64,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node.id, soft=False),
        )(StationActor)
        return Remote(actor.options(name=None).remote())

    def kill(self, worker: Remote) -> None:
        """End a worker's process now, if it can be reached."""
        if self.lost:
            return
        try:
            self._ray.kill(worker.handle)
        except Exception:  # whatever Ray makes of a worker that is no more
            pass

    async def apart(self, call: Callable[[], Any]) -> Any:
        """What a blocking call to Ray returns or raises; it keeps nobody waiting when it is given up."""
        try:
            return await self._threads.run(call)
        except Raised as raised:
            raise raised.error from None


def _import_ray() -> Any:
    """Ray, quiet, and with its private clusters closed to other users of the machine.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # it would end a starting run with a C++ stack
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(f"the engine ray is not installed ({error}): {_INSTALL}") from None


def _died(error: Exception) -> WorkerGone:
    """Why a worker is no more. One that could not even be made misses a module."""
    if "node has died" in str(error):
        return WorkerGone(first_line(error))
    if "creation task" not in str(error):
        return WorkerCrashed(first_line(error))
    return WorkerUnfit(f"no process of agentbatch starts there ({last_line(error)}): {install_there()}")


def _head_of(address: str) -> str:
    """HOST:PORT; of `auto` as Ray finds it: in RAY_ADDRESS, or among this machine's processes."""
    if address != "auto":
        return address
    services: Any = importlib.import_module("ray._private.services")
    return str(services.canonicalize_bootstrap_address(address))


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


def protect_private() -> None:
    """Give a private Ray a token of its own. Ray reads it when it is imported, else it writes one to ~/.ray."""
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _node(told: Mapping[str, Any]) -> Node:
    resources: dict[str, float] = told.get("Resources", {})
    return Node(
        id=told["NodeID"],
        address=told["NodeManagerAddress"],
        name=told.get("NodeName") or told["NodeManagerAddress"],
        cores=resources.get("CPU", 0.0),
        labels=told.get("Labels") or {},
        resources=resources,
        is_head="node:__internal_head__" in resources,
    )
