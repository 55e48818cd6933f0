"""Progress where there is no terminal: one line now and then, a line per 10 %, each kind of error once."""

from __future__ import annotations

from agentbatch import figures
from agentbatch.progress.outlet import Outlet
from agentbatch.progress.ticker import Ticker
from agentbatch.progress.view import View, Watch
from agentbatch.redact import visible

FIRST_S = 2.0
_LOOK_S = 0.5


class PlainProgress:
    """Prints a line every `interval` seconds, the first after two, and one at each tenth of the way."""

    def __init__(self, watch: Watch, outlet: Outlet, interval: float = 10.0) -> None:
        self._watch = watch
        self._outlet = outlet
        self._interval = interval
        self._looks_to_go = 0
        self._tenths = 0
        self._said: set[str] = set()
        self._ticker = Ticker(self._draw, lambda: min(_LOOK_S, interval), min(FIRST_S, interval))

    def start(self) -> None:
        """Begin to print."""
        self._ticker.start()

    def stop(self) -> None:
        """Print the errors not yet told, and end. What the run came to is the summary's business."""
        self._ticker.stop()

    def _draw(self, last: bool) -> None:
        view = self._watch.look()
        lines = self._new_errors(view)
        if not last and self._is_due(view):
            lines.append(progress_line(view))
        if lines:
            self._outlet.write("".join(line + "\n" for line in lines), patience=1.0 if last else 0.0)

    def _is_due(self, view: View) -> bool:
        tenths = int((view.share or 0) * 10)
        milestone = tenths > self._tenths and tenths < 10
        self._tenths = max(tenths, self._tenths)
        if self._looks_to_go > 0 and not milestone:
            self._looks_to_go -= 1
            return False
        self._looks_to_go = round(self._interval / min(_LOOK_S, self._interval)) - 1
        return True

    def _new_errors(self, view: View) -> list[str]:
        lines: list[str] = []
        for one in view.counts.refusals:
            if one.type not in self._said:
                self._said.add(one.type)
                lines.append(f"first {one.type} ({visible(one.agent, 40)}): {visible(one.message)}")
        for group in view.counts.errors:
            if group.type not in self._said:
                self._said.add(group.type)
                where = f"item {visible(group.item_id, 40)}" + (f", {visible(group.agent, 40)}" if group.agent else "")
                lines.append(f"first {group.type} ({where}): {visible(group.message)}")
        return lines


def progress_line(view: View) -> str:
    """The run in one line."""
    counts, pressure = view.counts, view.pressure
    ended = figures.count(counts.items_ended)
    parts = [f"{ended} items" if view.total is None else f"{ended}/{figures.count(view.total)} items"]
    if view.share is not None:
        parts[0] += f" ({int(view.share * 100)}%)"
    if counts.items_failed:
        parts.append(f"{figures.count(counts.items_failed)} failed")
    if retries := counts.total("retries"):
        parts.append(f"{figures.count(retries)} retries")
    parts.append(f"{pressure.items_in_flight} in flight")
    parts.append(f"{figures.rate(view.items_per_s)} items/s")
    parts.append(f"{figures.span_of_time(counts.elapsed_s)} gone")
    if view.eta_s is not None:
        parts.append(f"{figures.span_of_time(view.eta_s)} left")
    parts.append(cost(view))
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
