"""What a kind may ask for while its runnable is built from its config. The one who answers is `build.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from agentbatch.endpoints.answering import Answering
from agentbatch.hooks.calling import Hooks
from agentbatch.kept.journal import Journal
from agentbatch.kept.tape import Tape
from agentbatch.limits import Budget, Limiter
from agentbatch.placement import Placement
from agentbatch.process.control import Control
from agentbatch.results.artifacts import ArtifactFolder
from agentbatch.step import Runnable, Step

if TYPE_CHECKING:
    from agentbatch.flows.base import Member
    from agentbatch.tools.toolbox import Toolbox
    from agentbatch.transports.function import FunctionCaller
    from agentbatch.transports.http import HttpTransport, TransportKind
    from agentbatch.transports.threads import Threads


class Elsewhere(Protocol):
    """Other machines, for agents that are not to run on this one."""

    def runs(self, agent: str) -> bool:
        """Whether the agent's steps are done there, and never here."""
        ...

    def step(self, agent: str, runnable: Runnable) -> Runnable:
        """What stands for the agent here: itself, or what has it run elsewhere."""
        ...

    def function(self, name: str, executor: str, placement: Placement | None) -> FunctionCaller | None:
        """What calls the function `module:name` wherever its executor and its placement say; None for here."""
        ...


class Assembly(Protocol):
    """Turns names of the config into objects, each built once and shared by all who name it."""

    @property
    def control(self) -> Control:
        """The run's stop switch."""
        ...

    @property
    def budget(self) -> Budget:
        """What the run may cost."""
        ...

    @property
    def journal(self) -> Journal | None:
        """Where finished work is kept until its item has a result."""
        ...

    @property
    def tape(self) -> Tape | None:
        """What models, tools and commands are recorded on, or replayed from."""
        ...

    @property
    def artifacts(self) -> ArtifactFolder | None:
        """The folder for files that agents leave behind; None where results go to stdout."""
        ...

    @property
    def hooks(self) -> Hooks:
        """The user's functions that look at what is sent and what comes."""
        ...

    @property
    def threads(self) -> Threads:
        """Where blocking calls run."""
        ...

    @property
    def folder(self) -> Path:
        """Where the config stands: relative paths and modules are looked for there."""
        ...

    def answering(self, model: str) -> Answering:
        """The model of that name, with its limits and its fallbacks."""
        ...

    def limiter(
        self, owner: str, *, max_concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None
    ) -> Limiter:
        """New limits for an agent."""
        ...

    def transport(self, kind: TransportKind) -> HttpTransport:
        """The HTTP client of that kind, with one pool of connections for all who use it."""
        ...

    def toolbox(self, names: list[str]) -> Toolbox:
        """The tools of an agent, by the names in its config."""
        ...

    def function(
        self, name: str, executor: Literal["thread", "process", "ray"], placement: Placement | None = None
    ) -> FunctionCaller:
        """What calls the user's function `module:name`; `placement` says on which nodes, for `ray`."""
        ...

    def description(self, step: str) -> str:
        """What the config says of an agent or a group."""
        ...

    def steps(self, members: list[Member]) -> tuple[Step, ...]:
        """The steps a group's members stand for, one each: copies are a step that runs them side by side."""
        ...

    def members(self, members: list[Member]) -> tuple[Step, ...]:
        """The same for a group that itself runs its members side by side: each copy is a step."""
        ...

    def needs(self, members: list[Member], group: str) -> tuple[frozenset[int], ...]:
        """For each of a graph's `members`, the positions of those it waits for, because it refers to them."""
        ...
