"""Who is let in: the refusals that a real endpoint hands out before it thinks about an answer."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Mapping
from email.utils import formatdate

from agentbatch.mock_server.rate_limit import RateLimit
from agentbatch.mock_server.settings import MockServerSettings, RetryAfterForm
from agentbatch.models.mock_faults import FaultKind
from agentbatch.record import record
from agentbatch.text.figures import counted


@record
class Refusal:
    """No, and why: `reason` is the knob that said so, `retry_after` the seconds to wait where waiting helps."""

    kind: FaultKind
    reason: str
    message: str
    retry_after: float | None = None


class Gate:
    """Decides in the order of a real endpoint: the key, its health, its limits. Times are of the loop's clock."""

    def __init__(self, settings: MockServerSettings) -> None:
        self._settings = settings
        self.limit = RateLimit(settings)
        self._failed = 0
        self._first_at: float | None = None

    def refuse_key(self, headers: Mapping[str, str]) -> Refusal | None:
        """401 where a key is demanded and another one, or none, was given."""
        wanted = self._settings.require_key
        if wanted is None:
            return None
        given = headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = given or headers.get("x-api-key", "") or headers.get("api-key", "")
        if hmac.compare_digest(given.encode(), wanted.encode()):
            return None
        what = "Incorrect API key provided." if given else "You didn't provide an API key."
        return Refusal("auth", "require_key", f"{what} This mock server demands the one of --require-key.")

    def refuse_health(self, now: float, asked: int) -> Refusal | None:
        """503 while the server is down on purpose. `asked`: how often this very request came before."""
        self._first_at = now if self._first_at is None else self._first_at
        settings = self._settings
        if settings.outage is not None:
            since = now - self._first_at - settings.outage.start
            if 0 <= since < settings.outage.duration:
                return Refusal("overloaded", "outage", "The mock server is down on purpose (outage).")
        if self._failed < settings.fail_first:
            self._failed += 1
            return Refusal("overloaded", "fail_first", f"Failure {self._failed} of fail_first: {settings.fail_first}.")
        if asked < settings.fail_each:
            return Refusal("overloaded", "fail_each", f"Failure {asked + 1} of fail_each: {settings.fail_each}.")
        return None

    def refuse_limit(self, now: float, tokens: int, in_flight: int) -> Refusal | None:
        """429 beyond the limits. `in_flight` counts this request as well."""
        most = self._settings.max_in_flight
        if most is not None and in_flight > most:
            return Refusal("rate_limited", "max_in_flight", f"More than {counted(most, 'request')} at once.", 1.0)
        wait = self.limit.admit(now, tokens)
        if wait == 0.0:
            return None
        limits = f"Limit {self._settings.rpm or 'none'} requests, {self._settings.tpm or 'none'} tokens per min"
        message = f"Rate limit reached. {limits}. Please try again in {wait:.3f}s."
        return Refusal("rate_limited", "rate_limit", message, wait)


def retry_after_headers(form: RetryAfterForm, seconds: float | None) -> dict[str, str]:
    """When to come back, in the form that the settings ask for; never sooner than `seconds`."""
    if seconds is None or form == "none":
        return {}
    if form == "ms":
        return {"retry-after-ms": str(math.ceil(seconds * 1000))}
    if form == "date":
        return {"Retry-After": formatdate(math.ceil(time.time() + seconds), usegmt=True)}
    return {"Retry-After": str(math.ceil(seconds))}
