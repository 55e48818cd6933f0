"""The limits of a run on other machines: they can be looked at, not changed, as many workers share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentbatch.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from agentbatch.config import Config


class FixedLimits:
    """As the config has them. `spent` is what all runs of the output have cost, as far as prices are known."""

    def __init__(self, config: Config, spent: Callable[[], float]) -> None:
        self._config = config
        self._spent = spent

    @property
    def spent_usd(self) -> float:
        """US dollars."""
        return self._spent()

    def values(self) -> dict[str, float | None]:
        """Those that a run in one process can set."""
        limits = self._config.limits
        found: dict[str, float | None] = {
            "limits.max_concurrency": limits.max_concurrency,
            "limits.max_cost": limits.max_cost,
        }
        for name, model in self._config.models.items():
            concurrency = model.max_concurrency
            found[f"models.{name}.max_concurrency"] = None if concurrency == "auto" else concurrency
            found[f"models.{name}.rpm"] = model.rpm
            found[f"models.{name}.tpm"] = model.tpm
        for name, agent in self._config.agents.items():
            found[f"agents.{name}.max_concurrency"] = agent.max_concurrency
        for name, group in self._config.groups.items():
            found[f"groups.{name}.max_concurrency"] = group.max_concurrency
        return found

    def set(self, key: str, value: object) -> None:
        """Not here.

        Raises:
            ValueError: always.
        """
        values = self.values()
        if key not in values:
            hint = did_you_mean(key, values) or "."
            raise ValueError(f"{key!r} is no limit{hint} On Ray none can be set while a run goes")
        raise ValueError(
            f"{key} can't be set while a run goes on Ray: `agentbatch ctl RESULTS stop`, and run the same command with"
            f" --set {key}={value}: it continues"
        )
