"""What travels through the house: an item in, the names its templates see, a result out. All immutable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Literal

from agentbatch.errors import StepError
from agentbatch.messages import Message, Usage
from agentbatch.record import NEW_DICT, record

Status = Literal["ok", "error", "timeout", "cancelled", "skipped"]

_LOOP = "loop"
"""In a loop this is its index and history, so a loop group without a name can't be read by its kind."""


@record
class Item:
    """One input record. `index` counts from 0 over the whole inputs, `line` from 1 as editors do."""

    id: str | int
    index: int
    fields: Any
    line: int = 0


@record
class Failure:
    """Why a step or an item is not ok, as it stands in the result line."""

    type: str
    message: str
    agent: str | None = None
    http_status: int | None = None
    attempts: int = 0

    @classmethod
    def of(cls, error: StepError, agent: str | None, attempts: int) -> Failure:
        """The data form of an error that `agent` met after `attempts` requests."""
        return cls(error.type, error.message, agent, error.http_status, attempts)


@record
class Output:
    """What a step gives to the next: its value, and the conversation that led to it where there was one."""

    value: Any
    messages: tuple[Message, ...] = ()
    skipped: bool = False
    """There was nothing to do: the step counts as left out."""


@record
class Result:
    """How one step (an agent, a group, or the whole item) ended, with all it spent.

    Attributes:
        status: `ok`, or how it failed; `skipped` where a condition left it out.
        output: what it gave; None where it failed.
        usage: tokens and requests of this step and of everything below it.
        cost_usd: US dollars of this step and below; None where a price is unknown.
        attempts: requests sent, retries included.
        queued_s: seconds in which nothing of this step was at work.
        duration_s: seconds in which something was.
        steps: the results of the agents and groups below, by path, in the order they began.
        kind: the kind of agent or flow (`chat`, `parallel`, ...).
        name: what templates call the step; with a number where it is one of many: `writer[2]`.
        messages: the conversation that led to its output, where there was one.
    """

    status: Status
    output: Any = None
    error: Failure | None = None
    usage: Usage = Usage()
    cost_usd: float | None = 0.0
    attempts: int = 0
    queued_s: float = 0.0
    duration_s: float = 0.0
    steps: Mapping[str, Result] = field(default_factory=NEW_DICT)
    kind: str = ""
    messages: tuple[Message, ...] = ()
    name: str = ""
    extra: Mapping[str, Any] = field(default_factory=NEW_DICT)
    """What else there is to say of it in its line: `truncated`, `vote`."""

    tolerated: bool = False
    """It failed, and the config says that this does not fail the flow it stands in."""
    sets: Mapping[str, Any] = field(default_factory=NEW_DICT)
    """Values that it, and the steps below it, leave for later steps, as `vars.NAME`."""
    is_copy: bool = False
    """It is one of several copies of one step; templates see their outputs as a list."""
    below: tuple[dict[str, Result], dict[str, Result]] | None = field(default=None, compare=False, repr=False)
    """What the names of the steps below stand for, once a scope has looked it up."""
    left_out: bool = False
    """Its flow went another way, or could not come so far. (Where its own `when` skips a step, it has had its turn.)"""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def fine(self) -> bool:
        """Whether the flow it stands in goes on as if nothing had happened."""
        return self.status in ("ok", "skipped") or self.tolerated


@record
class ItemResult:
    """One item's end: what becomes one result line. `started_ns` is Unix time in nanoseconds."""

    item: Item
    trace_id: str
    started_ns: int
    result: Result


@record
class Scope:
    """The names a template may see: `input`, `item`, and every agent and group by name. `plus()` makes the next."""

    names: Mapping[str, Any]
    absent: Any = None
    """What templates see as the output of a step that has none."""

    def plus(self, name: str, value: Any) -> Scope:
        """A scope that also knows `name`; this one stays as it is."""
        return Scope({**self.names, name: value}, self.absent)

    def after(self, *results: Result) -> Scope:
        """A scope that also knows these steps, all steps below them, and the values they set. Of one name the latest
        counts; but one that was left out does not hide an earlier one, and what a cancelled one had done stays unseen.
        """
        names = dict(self.names)
        if len(results) == 1 and results[0].ok and not (results[0].steps or results[0].is_copy):
            names[results[0].name.partition("[")[0]] = results[0]  # as below, in the common case
        else:
            bound, left_out = self._bindings(results)
            names.update(bound)
            for name, result in left_out.items():
                if not isinstance(names.get(name), Result):
                    names[name] = result
        for result in results:
            if result.sets:
                names["vars"] = {**names.get("vars", {}), **result.sets}
        return Scope(names, self.absent)

    def _bindings(self, results: Iterable[Result]) -> _Bindings:
        """What the names of these steps, and of those below them, stand for; those left out apart."""
        bound: dict[str, Result] = {}
        left_out: dict[str, Result] = {}
        copies: dict[str, list[Result]] = {}
        for result in results:
            if result.steps and result.status != "cancelled":
                inner_bound, inner_left_out = self.below(result)
                bound.update(inner_bound)
                left_out.update(inner_left_out)
            name = result.name.partition("[")[0]
            if result.is_copy:
                copies.setdefault(name, []).append(result)
                bound[name] = result
            elif name != _LOOP:
                shown = result if result.ok or result.output is not None else replace(result, output=self.absent)
                (left_out if result.left_out else bound)[name] = shown
        for name, each in copies.items():
            if bound[name] is each[-1]:  # and not a later step of that name
                bound[name] = self._of_copies(name, each)
        return bound, {name: result for name, result in left_out.items() if name not in bound} if left_out else left_out

    def below(self, result: Result) -> _Bindings:
        """What the names of the steps below this one stand for, those left out apart; looked up once for all scopes."""
        if result.below is None:
            object.__setattr__(result, "below", self._bindings(result.steps.values()))
        assert result.below is not None
        return result.below

    def _of_copies(self, name: str, copies: list[Result]) -> Result:
        """What templates see of copies: the list of their outputs, and the first failure among them."""
        failed = next((copy for copy in copies if not copy.ok), None)
        status: Status = "ok" if failed is None else failed.status
        error = None if failed is None else failed.error
        output = [copy.output for copy in copies] if any(copy.output is not None for copy in copies) else self.absent
        return Result(status, output, error, name=name, kind="copies")


_Bindings = tuple[dict[str, Result], dict[str, Result]]
