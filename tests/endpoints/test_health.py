"""What an endpoint's answers say about it: luck, refusal, outage, or the end of the run."""

from __future__ import annotations

from agentbatch.endpoints.health import PATIENCE_S, Health, Verdict
from agentbatch.endpoints.window import Window
from agentbatch.errors import (
    AuthFault,
    BadContent,
    BadRequest,
    BadResponse,
    ConnectionFault,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
    StepTimeout,
    Unreachable,
)


def health_of(limit: int) -> Health:
    return Health("model m", Window(limit))


def succeed(health: Health, times: int = 1, *, level: int = 1) -> None:
    for _ in range(times):
        health.on_success(health.window.send(level), 0.1)


def fail(health: Health, error: StepError, times: int = 1, *, first: bool = True, now: float = 0.0) -> Verdict:
    verdict = Verdict()
    for level in range(times, 0, -1):
        verdict = health.on_failure(error, health.window.send(level), first_attempt=first, now=now)
    return verdict


def test_one_refusal_among_many_answers_is_luck() -> None:
    health = health_of(100)
    succeed(health, 20)
    assert fail(health, RateLimited("429", retry_after=1.0)) == Verdict(pause_s=0.0, excused=True)
    succeed(health)
    assert health.size == 100


def test_when_everything_is_refused_the_endpoint_pauses() -> None:
    health = health_of(100)
    verdict = fail(health, RateLimited("429", retry_after=2.0), 12)
    assert verdict.pause_s >= 2.0
    assert verdict.excused
    assert health.size == 1
    succeed(health, 20_000, level=1)
    assert health.size == 100


def test_a_small_endpoint_pauses_at_the_first_refusal() -> None:
    assert fail(health_of(1), RateLimited("429", retry_after=3.0)).pause_s == 3.0
    assert fail(health_of(2), RateLimited("429")).pause_s > 0


def test_a_long_wait_is_meant_for_everyone() -> None:
    health = health_of(100)
    succeed(health, 50)
    assert fail(health, RateLimited("429", retry_after=90.0)).pause_s == 90.0


def test_refusals_without_end_are_given_up_and_then_end_the_run() -> None:
    health = health_of(4)
    assert fail(health, RateLimited("429"), now=0.0).excused
    assert fail(health, RateLimited("429"), now=PATIENCE_S - 1).excused
    for _ in range(19):
        assert fail(health, RateLimited("429"), now=PATIENCE_S + 1).give_up
    assert "refused every request for 60 s: 429" in (fail(health, RateLimited("429"), now=PATIENCE_S + 2).stop or "")


def test_one_good_answer_renews_the_patience() -> None:
    health = health_of(4)
    fail(health, RateLimited("429"), now=0.0)
    succeed(health)
    fail(health, RateLimited("429"), now=50.0)
    assert fail(health, RateLimited("429"), now=100.0).excused


def test_an_outage_after_success_excuses_what_it_hits_and_probes() -> None:
    health = health_of(50)
    succeed(health)
    assert not fail(health, ServerFault("500"), 11).excused
    verdict = fail(health, ServerFault("500"))
    assert verdict.excused
    assert verdict.pause_s == 0.5
    assert health.size == 1
    pauses = [fail(health, ConnectionFault("reset"), first=False, now=now).pause_s for now in (1.0, 2.5, 5.0, 9.5)]
    assert pauses == [1.0, 2.0, 4.0, 5.0]
    succeed(health)
    assert not health.outage
    assert health.size > 1


def test_failures_heard_before_the_answers_to_what_was_sent_with_them_are_no_outage() -> None:
    """In a burst of 100, thirty fail at once; the others take their time."""
    health = health_of(100)
    succeed(health)
    sent = [health.window.send(level) for level in range(1, 101)]
    verdicts = [health.on_failure(ServerFault("500"), each, first_attempt=True, now=1.0) for each in sent[::3]]
    assert verdicts == [Verdict()] * 34
    for each in sent[1::3]:
        health.on_success(each, 1.0)
    assert health.size == 100


def test_what_is_wrong_with_single_answers_is_no_outage() -> None:
    """Too large, a bomb: however many in a row."""
    health = health_of(8)
    succeed(health)
    assert fail(health, BadContent("too large"), 40) == Verdict()
    assert health.size == 8
    assert fail(health, BadResponse("<html>maintenance"), 8).excused, "a page in the place of every answer is one"


def test_what_fails_at_one_moment_makes_one_pause() -> None:
    health = health_of(16)
    succeed(health)
    assert fail(health, ServerFault("500"), 16).pause_s == 0.5


def test_an_answer_that_was_on_its_way_does_not_end_an_outage() -> None:
    health = health_of(16)
    succeed(health)
    on_its_way = health.window.send(1)
    fail(health, ServerFault("500"), 16, now=2.0)
    health.on_success(on_its_way, 30.0)
    assert health.outage
    assert fail(health, ServerFault("500"), first=False, now=2.5).excused
    succeed(health)  # a probe
    assert not health.outage


def test_when_all_that_was_in_flight_is_refused_nobody_is_sent_after_it() -> None:
    """However many good answers came before."""
    health = health_of(8)
    succeed(health, 300, level=8)
    assert fail(health, RateLimited("429", retry_after=2.0), 7).pause_s == 0
    assert fail(health, RateLimited("429", retry_after=2.0)).pause_s == 2.0


def test_retries_of_poisoned_items_are_no_outage() -> None:
    health = health_of(50)
    succeed(health)
    assert fail(health, ServerFault("500"), 40, first=False) == Verdict()
    assert health.size == 50


def test_a_refused_key_ends_the_run_after_as_many_calls_as_first_in_flight() -> None:
    health = health_of(64)
    for _ in range(4):
        assert fail(health, AuthFault("bad key", http_status=401)).stop is None
        assert health.size == 1
    assert "auth: bad key (5 requests in a row)" in (fail(health, AuthFault("bad key", http_status=401)).stop or "")
    assert fail(health_of(1), AuthFault("bad key", http_status=401)).stop
    assert fail(health_of(2), QuotaFault("empty", http_status=429), 2).stop


def test_a_403_about_single_items_does_not_end_the_run() -> None:
    health = health_of(1)
    for _ in range(20):
        assert fail(health, AuthFault("not this one", http_status=403), 4).stop is None
        succeed(health)


def test_a_declined_request_shows_that_the_endpoint_is_well() -> None:
    health = health_of(10)
    fail(health, AuthFault("no", http_status=401), 4)
    assert fail(health, BadRequest("400")) == Verdict()
    assert fail(health, AuthFault("no", http_status=401)).stop is None


def test_a_server_that_was_never_reached_ends_the_run() -> None:
    health = health_of(64)
    assert fail(health, Unreachable("refused"), 64, now=100.0).stop is None, "it may be starting up"
    assert "can't be reached: refused" in (fail(health, Unreachable("refused"), now=104.0).stop or "")


def test_a_server_that_only_ever_failed_ends_the_run_before_it_costs_more() -> None:
    health = health_of(64)
    assert fail(health, ServerFault("500"), 120, first=False, now=1.0).stop is None
    assert "no good answer in 121 requests" in (fail(health, ServerFault("500"), first=False, now=7.0).stop or "")


def test_a_declined_request_shows_that_the_endpoint_can_be_reached() -> None:
    health = Health("model m", Window(10))
    for _ in range(3):
        health.on_failure(Unreachable("refused"), health.window.send(1), first_attempt=True, now=0.0)
    assert health.on_trial
    health.on_failure(BadRequest("no", http_status=400), health.window.send(1), first_attempt=True, now=1.0)
    assert not health.on_trial


def test_an_outage_that_only_leaves_requests_without_an_answer_is_probed_by_several() -> None:
    """Each probe takes its whole timeout, and costs the server next to nothing."""
    hanging, refusing = health_of(64), health_of(64)
    succeed(hanging, 20)
    succeed(refusing, 20)
    fail(hanging, StepTimeout("no whole answer"), 40)
    fail(refusing, ServerFault("500", http_status=500), 40)
    assert hanging.outage
    assert refusing.outage
    assert (hanging.size, refusing.size) == (8, 1)
