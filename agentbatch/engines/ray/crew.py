"""Who works: a worker on each node that fits, some for each placement, and another where one was lost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from agentbatch.engines.ray.cluster import Cluster, Node, Remote, WorkerGone, WorkerUnfit, WorkerUnheard
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.mends import check_store
from agentbatch.engines.ray.parcels import Assignment, Hello, packed, unpacked
from agentbatch.engines.ray.placements import agents_of, described, fitting_nodes, start_one, tasks
from agentbatch.engines.ray.versions import skew
from agentbatch.errors import AgentBatchError, ConfigError
from agentbatch.placement import Placement
from agentbatch.text.figures import counted

if TYPE_CHECKING:
    from agentbatch.config import Config

_LOOK_S = 1.0
_MOST_DEATHS = 5
"""So many workers in a row on a node that are lost before they finish an item: a next one would be, too."""

_LOGGER = logging.getLogger(__name__)


class Crew:
    """The workers of a run.

    Args:
        assignment: makes a worker's assignment from its name, its node's, its part of limits that are split, and the
            placement of the agents that it runs (None: it has items).
        placed: the placements of agents, by their names.
        package: the digest and the bytes of what they build their engine from.
        left_usd: US dollars left of the run's cap, as far as its workers told; None for no cap.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        assignment: Callable[[str, str, tuple[int, int] | None, Placement | None], Assignment],
        placed: Mapping[str, Placement],
        package: tuple[str, bytes],
        left_usd: Callable[[], float | None],
    ) -> None:
        self.links: list[Link] = []
        self._config = config
        self._cluster = cluster
        self._assignment = assignment
        self._placed = placed
        self._tasks = tasks(config)
        self._core = {"CPU": 0.0 if self._tasks else 1.0}
        """What a worker with items has to itself: where functions are tasks, the cores are theirs."""
        self._posts: list[Placement | None] = [None, *dict.fromkeys(placed.values())]
        """What there are workers for: items, and each placement."""
        self._nodes: list[Node] = []
        self._first: set[str] = set()
        """Nodes that were there at the start and have not worked yet: what keeps one of them from it ends the run."""
        self._unfit: set[str] = set()
        """Nodes that can't do the work: the run goes on without them."""
        self._package = package
        self._left_usd = left_usd
        self._bank: Remote | None = None
        self._ranks: dict[str, int] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._total = 1
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._places: dict[str, tuple[Placement | None, str]] = {}
        self._deaths: Counter[str] = Counter()
        """In a row, on each node."""
        self._number = 0
        self._fault: AgentBatchError | None = None
        self._told: set[str] = set()
        self._short = False
        """Whether it was said that there are fewer cores than workers are asked for."""
        self._why: str = ""

    async def open(self, begin: Callable[[Link], None], stopped: Callable[[], bool]) -> None:
        """Start the first workers, and wait for one of each kind, or until the run is `stopped`.

        Raises:
            ConfigError: no node fits, none lets a worker start in time, or a node has no room for the package.
        """
        self._begin = begin
        self._nodes = await self._cluster.nodes()
        self._first = {node.id for node in self._nodes}
        stores = [(node.name, node.resources.get("object_store_memory", 0.0)) for node in self._nodes]
        check_store(len(self._package[1]), stores)
        self._reference = self._cluster.put(self._package[1])
        if self._config.engine.limiter.mode == "lease":
            self._bank = await self._start_bank(follows=False)
        await self._recruit()
        timeout = self._config.engine.placement_timeout
        try:
            async with asyncio.timeout(timeout):
                while self._lacking() and not stopped():
                    await self._someone_started()
        except TimeoutError:
            raise ConfigError(self._nobody_for(min(self._lacking(), key=self._fits_somewhere))) from None

    async def keep_up(self, wanted: Callable[[], bool], waited_for: Callable[[], set[Placement]]) -> None:
        """Look for lost workers and new nodes until the run ends.

        Args:
            wanted: whether workers are.
            waited_for: the placements that somebody waits for.

        Raises:
            ConfigError: workers are lost as soon as they start, or no node has fitted for too long.
        """
        loop = asyncio.get_running_loop()
        alone_since: dict[Placement | None, float] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            if not wanted():
                return
            if self._fault is not None:
                raise self._fault
            missed = {None, *waited_for()}
            alone_since = {post: alone_since.get(post, loop.time()) for post in self._lacking() if post in missed}
            for post, since in alone_since.items():
                if loop.time() - since > self._config.engine.placement_timeout:
                    raise ConfigError(self._nobody_for(post))
            try:
                if await self._see_to_bank():
                    await self._recruit()
            except ConfigError as error:
                self._why = str(error)

    def on_ended(self, link: Link) -> None:
        """A worker has ended or is lost."""
        self._forget(link.name)
        link.close()
        if self._bank is not None and link.state == "over":
            task = asyncio.create_task(self._bank.tell("leave", link.name))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        if link.state == "lost":
            self._why = link.why
            self._count_death(link)

    async def close(self) -> None:
        """End every worker."""
        for task in self._starting.values():
            task.cancel()
        for link in self.links:
            link.close()
            self._cluster.kill(link.remote)

    async def _recruit(self) -> None:
        """Start workers where they are missing."""
        self._nodes = [node for node in await self._cluster.nodes() if node.id not in self._unfit]
        for post in self._posts:
            for node, missing in self._wanted(self._nodes) if post is None else self._wanted_for(post):
                for _ in range(missing):
                    self._number += 1
                    name = f"w{self._number}"
                    self._places[name] = post, node.id
                    self._starting[name] = asyncio.create_task(self._start(name, node, post))

    def _wanted_for(self, placement: Placement) -> list[tuple[Node, int]]:
        """How many more it wants, and where: as many as a node has resources for, but not more than it has cores."""
        there = list(self._places.values())
        wanted: list[tuple[Node, int]] = []
        for node in self._nodes:
            room = min(placement.room_on(node.labels, node.resources), max(1, int(node.cores)))
            missing = room - there.count((placement, node.id))
            if missing > 0:
                wanted.append((node, missing))
        return wanted

    def _lacking(self) -> list[Placement | None]:
        """What there is no worker for."""
        there = {link.placement for link in self.links if link.state == "working"}
        lacking = [post for post in self._posts if post not in there]
        return [*lacking, *(place for place in self._tasks.values() if not self._fits_somewhere(place))]

    def _fits_somewhere(self, post: Placement | None) -> bool:
        return post is None or _room(post, self._nodes)

    def _nobody_for(self, post: Placement | None) -> str:
        """Why there is no worker, and what to do."""
        limit = f"within {self._config.engine.placement_timeout:g} s (engine.placement_timeout)"
        why = f" ({self._why})" if self._why else ""
        if post is None:
            return (
                f"no worker could start {limit}{why}: {_look(self._why)}"
                if not any(link.placement is None for link in self.links)
                else f"every worker is lost, and no other could start {limit}: {self._why}"
            )
        who = f"agents.{agents_of(post, [*self._placed.items(), *self._tasks.items()])}.placement"
        if self._fits_somewhere(post):
            return f"{who}: no worker could start {limit} where {post.words} is{why}: {_look(self._why)}"
        return f"{who}: no node has {post.words}, {limit}: {described(self._nodes)}. {start_one(post)}"

    def _wanted(self, nodes: list[Node]) -> list[tuple[Node, int]]:
        """On which nodes how many more workers are wanted."""
        fitting = fitting_nodes(nodes, self._config.engine.nodes)
        workers = self._config.engine.workers
        if workers is None:
            total = len(fitting) if not self._cluster.private else int(fitting[0].cores)
        else:
            total = workers
        if self._core["CPU"]:
            room = sum(int(node.cores) for node in fitting)
            self._say_what_is_missing(total, len(fitting), room)
            total = min(total, room)
        each = _dealt_out(total, fitting, by_cores=self._core["CPU"] > 0)
        if self._bank is None and self._places:
            total = self._total  # limits are split among so many
        self._total = total
        there = [node for post, node in self._places.values() if post is None]
        left = total - len(there)
        wanted: list[tuple[Node, int]] = []
        for node in fitting:
            missing = min(left, each[node.id] - there.count(node.id))
            if missing > 0:
                wanted.append((node, missing))
                left -= missing
        return wanted

    def _say_what_is_missing(self, asked: int, nodes: int, room: int) -> None:
        if room < asked and not self._short:
            self._short = True
            there = f"engine.workers is {asked}, and the cores of {counted(nodes, 'node')} are enough for {room}"
            _LOGGER.warning("%s: the run goes on with those", there)

    async def _start(self, name: str, node: Node, post: Placement | None) -> None:
        remote: Remote | None = None
        try:
            resources = dict(self._core if post is None else post.resources)
            started: Remote = await self._cluster.apart(lambda: self._cluster.start_worker(node, resources))
            remote = started
            timeout = self._config.engine.placement_timeout
            versions: dict[str, str] = await started.call("versions", timeout=timeout)
            if problem := skew(versions["agentbatch"]):
                raise WorkerUnfit(problem)
            assignment = self._assignment(name, node.name, self._part(name), post)
            if self._tasks:
                assignment.nodes = tuple((each.labels, each.resources) for each in self._nodes)
            bank = None if self._bank is None else self._bank.handle
            data = await started.call(
                "begin", packed(assignment), self._package[0], [self._reference], bank, timeout=timeout
            )
            hello: Hello = unpacked(data)
            grace_s = self._config.engine.node_grace
            link = Link(name, node, started, hello.window, self._ahead(hello.window), grace_s, post)
            self.links.append(link)
            self._first.discard(node.id)
            self._tell(node, hello.notes)
            self._begin(link)
        except WorkerUnfit as error:
            self._refuse(node, ConfigError(f"node {node.name}: {error}"))
            self._give_up(name, remote)
        except (WorkerGone, WorkerUnheard) as error:
            self._why = f"node {node.name}: {error}"
            self._give_up(name, remote)
            if not self._lacking():
                self._tell(
                    node, [f"no other worker could start there ({error}), which is tried again: {_look(self._why)}"]
                )
        except AgentBatchError as error:
            self._refuse(node, error)
            self._give_up(name, remote)
        except Exception as error:  # a full disk there, or a bug of ours: a start that nobody gives up keeps its place
            self._refuse(node, ConfigError(f"node {node.name}: {type(error).__name__}: {error}"))
            self._give_up(name, remote)
        finally:
            self._starting.pop(name, None)

    def _tell(self, node: Node, notes: Sequence[str]) -> None:
        """What a person should know of a worker there; said once, however many workers say it."""
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                _LOGGER.warning("node %s: %s", node.name, note)

    def _refuse(self, node: Node, error: AgentBatchError) -> None:
        """A machine can't do the work."""
        if node.id in self._first or not self._can_do_without(node):
            self._fault = error
        elif node.id not in self._unfit:
            self._unfit.add(node.id)
            _LOGGER.warning("%s; the run goes on without that node", error)

    def _count_death(self, link: Link) -> None:
        node = link.node
        self._deaths[node.id] = 0 if link.done or link.served else self._deaths[node.id] + 1
        if self._deaths[node.id] == _MOST_DEATHS:
            lost = f"{_MOST_DEATHS} workers in a row were lost before they finished anything"
            self._refuse(node, ConfigError(f"node {node.name}: {lost}: {link.why}"))

    def _can_do_without(self, node: Node) -> bool:
        """Whether another node can do what this one is for."""
        others = [each for each in self._nodes if each.id not in {node.id, *self._unfit}]
        try:
            fitting_nodes(others, self._config.engine.nodes)
        except ConfigError:
            return False
        placed = [post for post in self._placed.values() if _room(post, [node])]
        return all(_room(post, others) for post in placed)

    def _give_up(self, name: str, remote: Remote | None) -> None:
        self._forget(name)
        if remote is not None:
            self._cluster.kill(remote)

    def _forget(self, name: str) -> None:
        self._places.pop(name, None)
        self._ranks.pop(name, None)

    async def _start_bank(self, follows: bool) -> Remote:
        ttl_s, left_usd = self._config.engine.limiter.ttl, self._left_usd()
        return await self._cluster.apart(lambda: self._cluster.start_bank(ttl_s, left_usd, follows))

    async def _see_to_bank(self) -> bool:
        """Whether who starts now can borrow.

        Workers that lose the bank end. Those that follow them get another, which is started when the last has said what
        it spent.
        """
        if self._bank is None:
            return True
        try:
            await self._bank.call("vouch", frozenset(self._places), timeout=self._config.engine.limiter.ttl)
        except WorkerGone as error:
            if self._starting or any(link.state == "working" for link in self.links):
                return False
            _LOGGER.warning("the bank of limits is lost (%s): another is started", error)
            self._bank = await self._start_bank(follows=True)
        except WorkerUnheard:
            pass  # busy; workers have clocks of their own
        return True

    def _part(self, name: str) -> tuple[int, int] | None:
        """A worker's part of limits that are split."""
        if self._bank is not None:
            return None
        rank = min(set(range(self._total)) - set(self._ranks.values()))
        self._ranks[name] = rank
        return rank, self._total

    def _ahead(self, window: int) -> int:
        """Items that wait on the worker, so that it never waits for the driver; none where the run's own cap rules."""
        return 0 if self._config.limits.max_concurrency is not None else max(self._config.engine.chunk_max, window // 2)

    async def _someone_started(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._starting:
            tasks = list(self._starting.values())
            await asyncio.wait(tasks, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(_LOOK_S)
        await self._recruit()
        if self._fault is not None:
            raise self._fault


def _dealt_out(workers: int, nodes: Sequence[Node], *, by_cores: bool) -> dict[str, int]:
    """So many workers over the nodes as evenly as can be; `by_cores`: on none more than it has cores."""
    each = {node.id: 0 for node in nodes}
    for _ in range(workers):
        open_ = [node.id for node in nodes if not by_cores or each[node.id] < int(node.cores)]
        each[min(open_, key=lambda node: each[node])] += 1
    return each


def _room(post: Placement, nodes: Sequence[Node]) -> bool:
    return any(post.room_on(node.labels, node.resources) for node in nodes)


def _look(why: str) -> str:
    """Where to look for what keeps workers from starting."""
    if "died" in why:
        return "see /tmp/ray/session_latest/logs on that node, and that RAY_AUTH_MODE is the same here as there"
    return "`ray status` shows whether something else has the cores and the resources there are"
