"""What a run will take, before anything is paid: requests, tokens, US dollars and time, as ranges.

Reckoned from some of the inputs: prompts and conditions that depend on the input alone are rendered and decided for
each of them; what depends on answers that nobody has yet is bounded by stated assumptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agentbatch.agents.base import AgentConfig
from agentbatch.build import planned_tariff
from agentbatch.flows.condition import ConditionConfig
from agentbatch.flows.route import RouteConfig, case_key
from agentbatch.forecast.bounds import EVERYTHING, Account, Bill, Bounds, Range, Spend
from agentbatch.forecast.prompts import UNKNOWN, Assumptions, Lengths, Prompts
from agentbatch.forecast.time import Constraint, constraints, latency_of
from agentbatch.items import Item
from agentbatch.messages import Usage
from agentbatch.plan import Plan, PlanNode
from agentbatch.record import record
from agentbatch.step_config import FallbackConfig, StepConfig
from agentbatch.templates import NOT_RUN

if TYPE_CHECKING:
    from agentbatch.config import Config

TURN_TOKENS = 100
"""What a further turn of a conversation adds to the prompt beside the answer before it: a tool's result, a reproach."""

_ELEMENTS_LOOKED_AT = 20
_ELEMENTS_AT_ONCE = 100
_SPREAD = 2.0
"""Standard errors by which a range is widened that a sample stands for."""


@record
class Forecast:
    """What a run will take.

    Attributes:
        items: how many it is about; `sampled` how many of them it was reckoned from.
        spent: what all items take if no answer needs to be repaired or replaced, by account; dollars of models whose
            price is not known are not in it.
        item: what one item takes on average, likewise.
        worst: what all items take together if every answer needs its repairs, retries and fallbacks.
        unpriced: the models in use whose price nobody knows.
        outside: agents that run programs or ask servers of their own: what those take and cost is in no figure.
        constraints: the limits it may wait for, the slowest first.
        assumed: what was assumed.
        uncapped: the agents whose parameters don't bound their answers.
        lists: whether agents make lists whose elements are worked on.
    """

    items: int
    sampled: int
    spent: Mapping[Account, Bounds]
    item: Mapping[Account, Bounds]
    worst: Spend
    unpriced: tuple[str, ...]
    outside: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    assumed: Assumptions
    uncapped: tuple[str, ...] = ()
    lists: bool = False

    @property
    def whole(self) -> Bounds:
        """What all items take together."""
        return self.spent.get(EVERYTHING, Bounds())

    @property
    def cost(self) -> Range | None:
        """US dollars; None where the price of a model in use, or of an agent's own means, is unknown."""
        return None if self.unpriced or self.outside else Range(self.whole.low.usd, self.whole.high.usd)

    @property
    def seconds(self) -> Range:
        """How long the run takes: as long as its slowest limit makes it."""
        each = [constraint.seconds for constraint in self.constraints]
        return Range(max(one.low for one in each), max(one.high for one in each)) if each else Range()


def forecast(
    config: Config, plan: Plan, items: int, drawn: Sequence[Item], assumptions: Assumptions | None = None
) -> Forecast:
    """What a run over so many items will take, reckoned from those that were `drawn` from them. Nothing is sent."""
    assumed = assumptions or Assumptions()
    reckoning = _Reckoning(config, assumed)
    bills = [reckoning.item(plan.root, item) for item in drawn]
    mean, spent = _scaled(bills, items)
    gloomy = _Reckoning(config, assumed, mended=True)
    _, worst = _scaled([gloomy.item(plan.root, item) for item in drawn], items)
    seconds = Range(*(_mean([bill.seconds[at] for bill in bills]) for at in (0, 1)))
    used = [model.name for model in plan.models if model.agents]
    return Forecast(
        items=items,
        sampled=len(drawn),
        spent=spent,
        item=mean,
        worst=worst.get(EVERYTHING, Bounds()).high,
        unpriced=tuple(name for name in used if reckoning.unpriced(name)),
        outside=tuple(dict.fromkeys(node.name.removesuffix("[n]") for node in plan.root.walk() if _is_outside(node))),
        constraints=tuple(constraints(config, spent, items, seconds)),
        assumed=assumed,
        uncapped=tuple(dict.fromkeys(reckoning.uncapped)),
        lists=reckoning.lists,
    )


def _is_outside(node: PlanNode) -> bool:
    return node.kind != "function" and isinstance(node.config, AgentConfig) and node.own.most == 0 and not node.children


class _Reckoning:
    """Follows the plan for one item after the other; `mended`: as if every answer needed repair and fallback."""

    def __init__(self, config: Config, assumed: Assumptions, *, mended: bool = False) -> None:
        self._config = config
        self._mended = mended
        self._assumed = assumed
        self._prompts = Prompts(config, assumed)
        self._tariffs = {name: planned_tariff(model) for name, model in config.models.items()}
        self._latencies = {name: latency_of(model, assumed.latency_s) for name, model in config.models.items()}
        self.uncapped: list[str] = []
        self.lists = False

    def unpriced(self, model: str) -> bool:
        """Whether nobody knows what the model costs."""
        tariff = self._tariffs[model]
        return tariff is None or tariff.cost(Usage(1, 1, 1)) is None

    def item(self, root: PlanNode, item: Item) -> Bill:
        """What one item takes."""
        return self._step(root, self._prompts.names(item))

    def _step(self, node: PlanNode, names: Mapping[str, Any]) -> Bill:
        """A step with its guard, its copies and those that take over from it."""
        runs = self._runs(node, names)
        if runs is False:
            return Bill()
        work = self._each(node, names) if node.kind == "for_each" else self._work(node, names)
        others = [self._step(other, names).maybe() for other in node.with_role("fallback") if self._replaced(node)]
        whole = Bill.in_turn([work, *others])
        if node.config is not None and node.name in self._config.groups:
            whole = whole.within(("group", node.name))
        if node.copies > 1:
            whole = whole.repeated(node.copies, node.copies, at_once=True)
        return whole if runs else whole.maybe()

    def _replaced(self, node: PlanNode) -> bool:
        """Whether the step's fallbacks count: they do where good answers are replaced, too."""
        fallback = None if node.config is None else node.config.fallback
        return self._mended or (isinstance(fallback, FallbackConfig) and fallback.when is not None)

    def _runs(self, node: PlanNode, names: Mapping[str, Any]) -> bool | None:
        """Whether the item comes to this step; None where its answers decide."""
        if not node.conditional or node.config is None or node.kind == "condition":
            return True
        value = self._prompts.value(node.config.when or "true", names)
        return None if value is UNKNOWN else bool(value)

    def _each(self, node: PlanNode, names: Mapping[str, Any]) -> Bill:
        """A step for each element of a list: those that the input gives, or as many as are assumed."""
        (body,) = node.with_role("member")
        elements = self._prompts.value((node.config and node.config.for_each) or "[]", names)
        if not isinstance(elements, list | tuple):
            self.lists = True
            return self._step(body, {**names, "each": {"value": "", "index": 0}}).repeated(
                0, self._assumed.elements, at_once=True
            )
        values = cast("Sequence[Any]", elements)
        looked_at = values[:_ELEMENTS_LOOKED_AT]
        bills = [
            self._step(body, {**names, "each": {"value": value, "index": at}}) for at, value in enumerate(looked_at)
        ]
        if not bills:
            return Bill()
        more, rounds = len(values) / len(bills), math.ceil(len(values) / _ELEMENTS_AT_ONCE)
        whole = Bill.at_once(bills).repeated(more, more, at_once=True)
        return Bill(whole.parts, Range(whole.seconds.low * rounds, whole.seconds.high * rounds))

    def _work(self, node: PlanNode, names: Mapping[str, Any]) -> Bill:
        members = node.with_role("member")
        if node.own.most != 0 and node.config is not None:
            inner = self._asks(node, node.config, names)
        elif isinstance(node.config, ConditionConfig | RouteConfig):
            inner = self._ways(node, node.config, members, names)
        else:
            inner = self._members(node, members, names)
        seen = {**names, "members": [None] * sum(member.copies for member in members)}
        helpers = [self._step(helper, seen) for helper in node.with_role("helper")]
        called = {**names, "args": NOT_RUN}
        turns = node.own.most or 0
        workers = [self._step(worker, called).repeated(0, turns) for worker in node.with_role("tool")]
        least, most = self._times(node)
        return Bill.in_turn([inner, *helpers, *workers]).repeated(least, most)

    def _times(self, node: PlanNode) -> tuple[int, int]:
        least, most = node.times
        if most is None:
            return least, self._assumed.elements
        retries = 0 if node.config is None or self._mended else node.config.retries
        return least, most // (retries + 1)

    def _members(self, node: PlanNode, members: list[PlanNode], names: Mapping[str, Any]) -> Bill:
        bills = [self._step(member, names) for member in members]
        if node.rule != "all":
            return Bill.some_of(bills) if node.rule == "some" else Bill.one_of(bills)
        if node.kind == "graph":
            return _graph(members, bills)
        return Bill.at_once(bills) if node.parallel else Bill.in_turn(bills)

    def _ways(
        self, node: PlanNode, config: ConditionConfig | RouteConfig, members: list[PlanNode], names: Mapping[str, Any]
    ) -> Bill:
        """The way that a condition or a route takes; where answers decide, the cheapest to the dearest."""
        expression = config.when if isinstance(config, ConditionConfig) else config.route
        value = self._prompts.value(expression, names) if isinstance(expression, str) else UNKNOWN
        if value is UNKNOWN:
            bills = [self._step(member, names) for member in members]
            whole = Bill.some_of(bills) if node.rule == "some" else Bill.one_of(bills)
            return whole.maybe() if node.conditional else whole
        if isinstance(config, ConditionConfig):
            taken = [member for member in members if member.case == ("true" if value else "false")]
        else:
            taken = _cases(members, value)
        return Bill.at_once([self._step(member, names) for member in taken])

    def _asks(self, node: PlanNode, config: StepConfig, names: Mapping[str, Any]) -> Bill:
        """An agent's requests: at least and at most so many, each longer by the answers before it."""
        name, model = node.name.removesuffix("[n]"), node.model or ""
        lengths = self._prompts.lengths(config, names)
        if lengths.answer.low != lengths.answer.high and self._prompts.cap(config) is None:
            self.uncapped.append(name)
        most = (node.own.most or 1) - (not self._mended and getattr(config, "output_schema", None) is not None)
        low = self._spend(model, node.own.least, lengths, 0)
        high = self._spend(model, most, lengths, 1)
        accounts: list[Account] = [EVERYTHING, ("model", model), ("agent", name)]
        return Bill(dict.fromkeys(accounts, Bounds(low, high)), Range(low.busy_s, high.busy_s))

    def _spend(self, model: str, calls: int, lengths: Lengths, end: int) -> Spend:
        """So many requests in a row; `end` is 0 for the shortest texts, 1 for the longest."""
        prompt, answer = lengths.prompt[end], lengths.answer[end]
        prompts = [prompt + turn * (answer + TURN_TOKENS) for turn in range(calls)]
        tariff = self._tariffs[model]
        costs = [
            0.0 if tariff is None else tariff.cost(Usage(round(each), round(answer), 1)) or 0.0 for each in prompts
        ]
        return Spend(calls, sum(prompts), answer * calls, sum(costs), calls * self._latencies[model])


def _cases(members: list[PlanNode], value: Any) -> list[PlanNode]:
    """The ways that a route takes for a value, as `RouteFlow` finds them."""
    values: list[Any] = cast("list[Any]", value) if isinstance(value, list) and value else [value]
    default = [member for member in members if member.label == "default"]
    taken: list[PlanNode] = []
    for each in values:
        named = [member for member in members if member.label != "default" and _same(member.case, each)]
        taken += [member for member in named or default if member not in taken]
    return taken


def _same(case: str | None, value: Any) -> bool:
    return case is not None and case_key(case) == case_key(value)


def _graph(members: list[PlanNode], bills: list[Bill]) -> Bill:
    """Steps that start as soon as those they wait for have ended: the longest way through counts."""
    ends: dict[int, Range] = {}
    for at in sorted(range(len(members)), key=lambda at: members[at].wave):
        before = [ends[need] for need in members[at].waits_for if need in ends]
        low, high = (max((end[side] for end in before), default=0.0) + bills[at].seconds[side] for side in (0, 1))
        ends[at] = Range(low, high)
    seconds = Range(*(max((end[side] for end in ends.values()), default=0.0) for side in (0, 1)))
    return Bill(Bill.at_once(bills).parts, seconds)


def _scaled(bills: list[Bill], items: int) -> tuple[dict[Account, Bounds], dict[Account, Bounds]]:
    """The mean bounds of an item, and the bounds of all; wider where only a part of them was looked at."""
    accounts = dict.fromkeys(account for bill in bills for account in bill.parts)
    mean: dict[Account, Bounds] = {}
    whole: dict[Account, Bounds] = {}
    for account in accounts:
        each = [bill.parts.get(account, Bounds()) for bill in bills]
        lows, highs = [bounds.low for bounds in each], [bounds.high for bounds in each]
        mean[account] = Bounds(_means(lows), _means(highs))
        whole[account] = Bounds(_grown(lows, items, -_SPREAD), _grown(highs, items, _SPREAD))
    return mean, whole


def _means(spends: list[Spend]) -> Spend:
    return Spend(*(_mean(list(figures)) for figures in zip(*spends, strict=True)))


def _grown(spends: list[Spend], items: int, spread: float) -> Spend:
    return Spend(*(_estimated_sum(list(figures), items, spread) for figures in zip(*spends, strict=True)))


def _estimated_sum(figures: list[float], items: int, spread: float) -> float:
    """The sum over all items, moved by so many standard errors of its estimate."""
    mean, count = _mean(figures), len(figures)
    if count < 2 or count >= items:
        return mean * items
    variance = sum((figure - mean) ** 2 for figure in figures) / (count - 1)
    error = items * math.sqrt(variance / count * (1 - count / items))
    return max(0.0, mean * items + spread * error)


def _mean(figures: Iterable[float]) -> float:
    found = list(figures)
    return sum(found) / len(found) if found else 0.0
