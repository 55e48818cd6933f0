"""The limits of a run that its results can pass: how many failures are too many."""

from __future__ import annotations

from agentbatch.items import Status
from agentbatch.record import record


@record
class FailureAllowance:
    """So many failed items are accepted: a number, or a share of all items. None: any number, but none go unsaid."""

    count: int | None = None
    share: float | None = None

    @property
    def given(self) -> bool:
        """Whether the user set one."""
        return self.count is not None or self.share is not None

    @classmethod
    def parse(cls, text: str | int | None) -> FailureAllowance:
        """From `5`, `"5"` or `"5%"`.

        Raises:
            ValueError: it is none of these.
        """
        if text is None:
            return cls()
        digits = str(text).strip()
        try:
            if digits.endswith("%"):
                share = float(digits[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(share=share)
            elif int(digits) >= 0:
                return cls(count=int(digits))
        except ValueError:
            pass
        raise ValueError(f"expected a number of items such as 5, or a share such as 5%, not {digits!r}")

    def exceeded(self, failures: int, total: int | None) -> bool:
        """Whether so many failures are too many. A share counts only once the total is known."""
        if self.count is not None:
            return failures > self.count
        if self.share is not None:
            return total is not None and failures > self.share * total
        return False

    def accepted(self, failures: int, total: int) -> bool:
        """Whether a finished run with so many failures counts as a success."""
        return not failures or (self.given and not self.exceeded(failures, total))


class FailureCount:
    """Counts failures against the allowance while the run goes."""

    def __init__(self, allowance: FailureAllowance, *, fail_fast: bool, total: int | None, before: int = 0) -> None:
        self._allowance = allowance
        self._fail_fast = fail_fast
        self._total = total
        self.failures = before

    def add(self, status: Status) -> str | None:
        """Count one result; returns why the run has to stop, None while it may go on."""
        if status in ("ok", "skipped"):
            return None
        self.failures += 1
        if self._fail_fast:
            return "--fail-fast: an item failed"
        if self._allowance.exceeded(self.failures, self._total):
            return f"more failures than max_failures allows: {self.failures:,}"
        return None
