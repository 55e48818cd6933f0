"""Progress where there is no terminal: one line now and then, sooner at 10 % milestones, each kind of error once."""

from __future__ import annotations

from collections.abc import Sequence

from agentbatch.progress.outlet import Outlet
from agentbatch.progress.ticker import Ticker
from agentbatch.progress.view import View, Watch
from agentbatch.text import figures
from agentbatch.text.redact import visible

_FIRST_S = 2.0
_LOOK_S = 0.5


class PlainProgress:
    """Prints a line every `interval` seconds, the first after two; sooner where another tenth of the way is done."""

    def __init__(self, watch: Watch, outlet: Outlet, interval: float = 10.0) -> None:
        self._watch = watch
        self._outlet = outlet
        self._interval = interval
        self._line_at = self._milestone_at = min(_FIRST_S, interval)
        self._tenths = 0
        self._told: set[str] = set()
        look = min(_LOOK_S, interval)
        self._ticker = Ticker(self._draw, lambda: look, look)

    def start(self) -> None:
        """Begin to print."""
        self._ticker.start()

    def say(self, text: str) -> None:
        """Print lines."""
        self._ticker.say(text)

    def stop(self) -> None:
        """Print the errors not yet told, and end. What the run came to is the summary's business."""
        self._ticker.stop()

    def _draw(self, said: Sequence[str], last: bool) -> None:
        view = self._watch.look()
        lines = [*(visible(line, 2000) for line in said), *self._new_errors(view)]
        if not last and self._is_due(view):
            lines.append(progress_line(view))
        self._outlet.write("".join(line + "\n" for line in lines), patience=1.0 if last else 0.0)
        if last:
            self._outlet.close()

    def _is_due(self, view: View) -> bool:
        """By the clock; at a milestone already after half that time. In its first two seconds a run says nothing."""
        elapsed, tenths = view.counts.elapsed_s, int((view.share or 0) * 10)
        milestone = self._tenths < tenths < 10 and elapsed >= self._milestone_at
        if elapsed < self._line_at and not milestone:
            return False
        self._tenths = tenths
        self._line_at, self._milestone_at = elapsed + self._interval, elapsed + self._interval / 2
        return True

    def _new_errors(self, view: View) -> list[str]:
        lines: list[str] = []
        for one in view.counts.refusals:
            if one.type not in self._told:
                self._told.add(one.type)
                lines.append(f"first {one.type} ({visible(one.agent, 40)}): {visible(one.message)}")
        for group in view.counts.errors:
            if group.type not in self._told:
                self._told.add(group.type)
                where = f"item {visible(group.item_id, 40)}" + (f", {visible(group.agent, 40)}" if group.agent else "")
                lines.append(f"first {group.type} ({where}): {visible(group.message)}")
        return lines


def progress_line(view: View) -> str:
    """The run in one line."""
    counts, pressure = view.counts, view.pressure
    ended = counts.items_ended
    of = "" if view.total is None else f"{figures.count(ended)}/{figures.counted(view.total, 'item')}"
    parts = [of or figures.counted(ended, "item")]
    if view.share is not None:
        parts[0] += f" ({int(view.share * 100)}%)"
    if counts.items_failed:
        parts.append(f"{figures.count(counts.items_failed)} failed")
    if retries := counts.total("retries"):
        parts.append(figures.counted(retries, "retry", "retries"))
    if pressure.known:
        parts.append(f"{pressure.items_in_flight} in flight")
    parts.append(f"{figures.rate(view.items_per_s)} items/s")
    parts.append(f"{figures.span_of_time(counts.elapsed_s)} elapsed")
    if view.eta_s is not None:
        parts.append(f"{figures.span_of_time(view.eta_s)} left")
    parts.append(cost(view))
    if len(pressure.nodes) > 1:
        parts.append("nodes " + " ".join(f"{visible(one.name, 40)}:{one.in_flight}" for one in pressure.nodes))
    if pressure.held_by:
        parts.append(f"held by {visible(pressure.held_by, 80)}")
    return ", ".join(part for part in parts if part)


def cost(view: View) -> str:
    """What has been spent; `$0.12 + ?` where some calls have no known price, empty where nothing was called."""
    counts = view.counts
    if not counts.total("calls"):
        return ""
    if counts.cost_known:
        return figures.money(counts.cost_usd)
    return f"{figures.money(counts.cost_usd)} + ?" if counts.cost_usd else "cost unknown"
