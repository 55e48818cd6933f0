"""What an endpoint's answers say about it: luck, refusal, outage, or the end of the run."""

from __future__ import annotations

from agentbatch.errors import (
    AuthFault,
    BadRequest,
    ConnectionFault,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
    Unreachable,
)
from agentbatch.health import PATIENCE_S, Health, Verdict


def fail(health: Health, error: StepError, times: int = 1, *, first: bool = True, now: float = 0.0) -> Verdict:
    verdict = Verdict()
    for _ in range(times):
        verdict = health.on_failure(error, first_attempt=first, now=now)
    return verdict


def test_one_refusal_among_many_answers_is_luck() -> None:
    health = Health("m", 100)
    for _ in range(20):
        health.on_success()
    verdict = fail(health, RateLimited("429", retry_after=1.0))
    assert verdict == Verdict(pause_s=0.0, excused=True)
    assert health.window == 100


def test_refusals_together_pause_the_endpoint_and_cut_the_window_once() -> None:
    health = Health("m", 100)
    verdict = fail(health, RateLimited("429", retry_after=2.0), 12)
    assert verdict.pause_s >= 2.0
    assert verdict.excused
    assert health.window == 50
    fail(health, RateLimited("429"), now=1.0)
    assert health.window == 25
    for _ in range(200):
        health.on_success()
    assert health.window == 100


def test_a_small_endpoint_pauses_at_the_first_refusal() -> None:
    assert fail(Health("m", 1), RateLimited("429", retry_after=3.0)).pause_s == 3.0
    assert fail(Health("m", 2), RateLimited("429")).pause_s > 0


def test_a_long_wait_is_meant_for_everyone() -> None:
    health = Health("m", 100)
    for _ in range(50):
        health.on_success()
    assert fail(health, RateLimited("429", retry_after=90.0)).pause_s == 90.0


def test_refusals_count_again_when_patience_is_over() -> None:
    health = Health("m", 4)
    assert fail(health, RateLimited("429"), now=0.0).excused
    assert fail(health, RateLimited("429"), now=PATIENCE_S - 1).excused
    assert not fail(health, RateLimited("429"), now=PATIENCE_S + 1).excused


def test_an_outage_after_success_excuses_what_it_hits_and_probes() -> None:
    health = Health("m", 50)
    health.on_success()
    assert not fail(health, ServerFault("500"), 9).excused
    verdict = fail(health, ServerFault("500"))
    assert verdict.excused
    assert verdict.pause_s == 0.5
    assert health.window == 1
    assert fail(health, ConnectionFault("reset"), 8, first=False).pause_s == 5.0
    health.on_success()
    assert not health.outage
    assert health.window > 1


def test_retries_of_poisoned_items_are_no_outage() -> None:
    health = Health("m", 50)
    health.on_success()
    assert fail(health, ServerFault("500"), 40, first=False) == Verdict()
    assert health.window == 50


def test_a_refused_key_ends_the_run_after_as_many_calls_as_first_in_flight() -> None:
    health = Health("m", 64)
    for _ in range(4):
        assert fail(health, AuthFault("bad key", http_status=401)).stop is None
        assert health.window == 1
    assert "auth: bad key (5 times in a row)" in (fail(health, AuthFault("bad key", http_status=401)).stop or "")
    assert fail(Health("m", 1), AuthFault("bad key", http_status=401)).stop
    assert fail(Health("m", 2), QuotaFault("empty", http_status=429), 2).stop


def test_a_403_about_single_items_does_not_end_the_run() -> None:
    health = Health("m", 1)
    for _ in range(20):
        assert fail(health, AuthFault("not this one", http_status=403), 4).stop is None
        health.on_success()
        assert health.window == 1 == health.limit


def test_a_declined_request_shows_that_the_endpoint_is_well() -> None:
    health = Health("m", 10)
    fail(health, AuthFault("no", http_status=401), 4)
    assert fail(health, BadRequest("400")) == Verdict()
    assert fail(health, AuthFault("no", http_status=401)).stop is None


def test_a_server_that_was_never_reached_ends_the_run() -> None:
    health = Health("m", 64)
    assert fail(health, Unreachable("refused"), 64, now=100.0).stop is None, "it may be starting up"
    assert "can't be reached: refused" in (fail(health, Unreachable("refused"), now=104.0).stop or "")


def test_a_server_that_only_ever_failed_ends_the_run_before_it_costs_more() -> None:
    health = Health("m", 64)
    assert fail(health, Overloaded("503"), 120, first=False, now=1.0).stop is None
    assert "no good answer in 121 requests" in (fail(health, Overloaded("503"), first=False, now=7.0).stop or "")
