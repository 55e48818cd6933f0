"""Whether and when to retry: never a deterministic failure, never sooner than asked, never without a floor."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agentbatch import errors
from agentbatch.errors import BadRequest, ServerFault, StepError
from agentbatch.retry import RetryBudget, RetryPolicy

ALL_ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, StepError) and each not in (StepError,)
]


@given(
    error=st.sampled_from(ALL_ERRORS),
    retry=st.none() | st.booleans(),
    asked=st.none() | st.floats(0, 10_000),
    failures=st.integers(0, 50),
    retries=st.integers(0, 10),
    seed=st.integers(),
)
def test_the_retry_decision(error, retry, asked, failures, retries, seed) -> None:
    policy = RetryPolicy(retries=retries)
    fault = error("no", retry=retry, retry_after=asked)
    delay = policy.delay(fault, failures, random.Random(seed))
    wanted = fault.transient if retry is None else retry
    if not wanted or failures > retries:
        assert delay is None
    else:
        assert delay is not None
        assert delay >= (asked or 0)
        assert delay >= policy.base_s
        assert delay <= max(policy.cap_s, asked or 0)


def test_backoff_grows_and_is_spread() -> None:
    policy, rng = RetryPolicy(), random.Random(1)
    means = [sum(policy.backoff(failures, rng) for _ in range(500)) / 500 for failures in (1, 2, 3, 4, 9)]
    assert means == sorted(means)
    assert len({policy.backoff(3, rng) for _ in range(100)}) > 90
    assert max(policy.backoff(9, rng) for _ in range(1000)) <= policy.cap_s


def test_a_server_that_says_no_retry_is_obeyed() -> None:
    policy = RetryPolicy()
    assert policy.delay(ServerFault("no", retry=False), 1, random.Random()) is None
    assert policy.delay(BadRequest("yes", retry=True), 1, random.Random()) is not None


def test_retries_are_a_bounded_share_of_the_answers() -> None:
    budget = RetryBudget(ratio=0.5, burst=10)
    assert [budget.take() for _ in range(10)] == [0.0] * 10
    assert budget.take() > 0, "the allowance is spent: the next retry is put off"
    for _ in range(4):
        budget.on_answer()
    assert budget.take() == 0.0


def test_a_long_storm_never_puts_a_retry_off_for_ever() -> None:
    budget = RetryBudget()
    assert max(budget.take() for _ in range(10_000)) <= 30
    for _ in range(100):
        budget.on_answer()
    assert budget.take() == 0.0, "and is soon forgotten"
