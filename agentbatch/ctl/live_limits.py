"""The limits that may change while a run goes, by the keys they have in the config."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from agentbatch.build import Workshop
from agentbatch.errors import ConfigError
from agentbatch.limits import Limiter, Permits, Rate
from agentbatch.text.suggestions import did_you_mean

KEYS = (
    "limits.max_concurrency, limits.max_cost, models.NAME.max_concurrency, models.NAME.rpm, models.NAME.tpm,"
    " agents.NAME.max_concurrency, groups.NAME.max_concurrency"
)


class LiveLimits:
    """Reads and sets them. `resize` changes how many items may be in flight."""

    def __init__(self, workshop: Workshop, window: Callable[[], int], resize: Callable[[int], None]) -> None:
        self._workshop = workshop
        self._window = window
        self._resize = resize

    @property
    def spent_usd(self) -> float:
        """What all runs of the output have cost, as far as prices are known."""
        return self._workshop.budget.spent

    def values(self) -> dict[str, float | None]:
        """Those that can be set, as they are now; None where there is no such limit yet."""
        found: dict[str, float | None] = {
            "limits.max_concurrency": self._window(),
            "limits.max_cost": self._workshop.budget.cap,
        }
        for name, endpoint in self._workshop.endpoints.items():
            limiter = endpoint.limiter
            found[f"models.{name}.max_concurrency"] = endpoint.health.window.limit
            found[f"models.{name}.rpm"] = None if limiter.rpm is None else limiter.rpm.limit
            found[f"models.{name}.tpm"] = None if limiter.tpm is None else limiter.tpm.limit
        for limiter in self._workshop.limiters:
            kind, _, name = limiter.owner.partition(" ")
            if kind in ("agent", "group"):
                found[f"{kind}s.{name}.max_concurrency"] = limiter.permits and limiter.permits.limit
        return found

    def set(self, key: str, value: object) -> None:
        """Change one, from this moment on. What is in flight beyond a smaller one ends first.

        Raises:
            ValueError: there is no such limit, or it can't be that.
        """
        known = self.values()
        if key not in known:
            hint = did_you_mean(key, known) or "."
            raise ValueError(f"{key!r} can't be set while a run goes{hint} These can: {KEYS}")
        if key == "limits.max_cost":
            self._set_cost(_number(key, value))
            return
        number = _whole_number(key, value)
        section, *name, field = key.split(".")
        if section == "limits":
            self._resize(number)
        elif field == "max_concurrency" and section == "models":
            self._workshop.endpoints[".".join(name)].set_concurrency(number)
        elif field == "max_concurrency":
            for limiter in self._of(f"{section[:-1]} {'.'.join(name)}"):
                _set_permits(limiter, number)
        else:
            _set_rate(self._workshop.endpoints[".".join(name)].limiter, "rpm" if field == "rpm" else "tpm", number)

    def _of(self, owner: str) -> list[Limiter]:
        return [limiter for limiter in self._workshop.limiters if limiter.owner == owner]

    def _set_cost(self, cap: float) -> None:
        budget = self._workshop.budget
        before = budget.cap
        budget.set_cap(cap)
        try:
            self._workshop.check_prices()
        except ConfigError as error:
            budget.cap = before
            raise ValueError(str(error)) from None


def _set_permits(limiter: Limiter, number: int) -> None:
    if limiter.permits is None:
        limiter.permits = Permits(number)
    else:
        limiter.permits.resize(number)


def _set_rate(limiter: Limiter, field: Literal["rpm", "tpm"], number: int) -> None:
    rate = limiter.rpm if field == "rpm" else limiter.tpm
    if rate is not None:
        rate.resize(number)
    elif field == "rpm":
        limiter.rpm = Rate(number, "requests", limiter.owner)
    else:
        limiter.tpm = Rate(number, "tokens", limiter.owner)


def _whole_number(key: str, value: object) -> int:
    number = _number(key, value)
    if number < 1 or number != int(number):
        raise ValueError(f"{key}: expected a whole number of at least 1, not {value!r}")
    return int(number)


def _number(key: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError(f"{key}: expected a number, not {value!r}")
