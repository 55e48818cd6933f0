"""What answers that are not 2xx mean: the table, over the shapes that OpenAI, Anthropic and their imitators send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import (
    AuthFault,
    BadRequest,
    BadResponse,
    ContentFilter,
    ContextLength,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
)
from agentbatch.models.refusals import refusal, refusal_inside
from agentbatch.transports.base import HttpResponse

NOW = datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC).timestamp()


def openai(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


def anthropic(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_body"}


def refuse(status: int, body: Any = b"", **headers: str) -> StepError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, NOW)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, BadRequest, False),
        (401, AuthFault, False),
        (402, QuotaFault, False),
        (403, AuthFault, False),
        (404, BadRequest, False),
        (405, BadRequest, False),
        (408, ServerFault, True),
        (409, ServerFault, True),
        (413, ContextLength, False),
        (418, BadRequest, False),
        (422, BadRequest, False),
        (429, RateLimited, True),
        (500, ServerFault, True),
        (501, ServerFault, True),
        (502, ServerFault, True),
        (503, Overloaded, True),
        (504, ServerFault, True),
        (520, ServerFault, True),
        (529, Overloaded, True),
        (599, ServerFault, True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"null", b"<html><body>Oops</body></html>", b'{"error": {"message": "no"}}'])
def test_statuses(status: int, kind: type[StepError], retryable: bool, body: bytes) -> None:
    error = refuse(status, body)
    assert (type(error), error.retryable, error.http_status) == (kind, retryable, status)
    assert f"HTTP {status}" in error.message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            429,
            openai("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
            QuotaFault,
        ),
        (429, openai(code="billing_hard_limit_reached"), QuotaFault),
        (400, openai(type="billing_not_active"), QuotaFault),
        (403, openai(code="insufficient_quota"), QuotaFault),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, QuotaFault),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API"), QuotaFault),
        (402, anthropic("billing_error"), QuotaFault),
        (429, openai("Rate limit reached", type="requests", code="rate_limit_exceeded"), RateLimited),
        (429, openai("Request too large", type="tokens", code="rate_limit_exceeded"), RateLimited),
        (429, anthropic("rate_limit_error"), RateLimited),
        (429, [{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}}], RateLimited),
        (529, anthropic("overloaded_error"), Overloaded),
        (500, anthropic("overloaded_error"), Overloaded),
        (500, anthropic("api_error"), ServerFault),
        (401, anthropic("authentication_error"), AuthFault),
        (403, anthropic("permission_error"), AuthFault),
        (404, anthropic("not_found_error"), BadRequest),
        (413, anthropic("request_too_large"), ContextLength),
        (
            400,
            openai("This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
            ContextLength,
        ),
        (400, {"object": "error", "message": "the maximum context length is 4096", "code": 400}, ContextLength),
        (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), ContextLength),
        (400, openai("too long", type="exceed_context_size_error"), ContextLength),
        (400, openai("flagged", code="content_filter"), ContentFilter),
        (400, openai("flagged", code="content_policy_violation"), ContentFilter),
        (400, openai(innererror={"code": "ResponsibleAIPolicyViolation"}), ContentFilter),
        (500, openai("the maximum context length is unknown"), ServerFault),
        (400, openai("content filter is a nice topic"), BadRequest),
    ],
)
def test_what_the_body_says_counts_first(status: int, body: Any, kind: type[StepError]) -> None:
    assert type(refuse(status, body)) is kind


@pytest.mark.parametrize(
    ("status", "verdict", "retryable"),
    [
        (400, "true", True),
        (429, "false", False),
        (500, " False ", False),
        (500, "", True),
        (400, "perhaps", False),
    ],
)
def test_the_servers_own_verdict_wins(status: int, verdict: str, retryable: bool) -> None:
    assert refuse(status, x_should_retry=verdict).retryable is retryable


def test_retry_after_is_read() -> None:
    assert refuse(429, retry_after="7").retry_after == 7
    assert refuse(503, retry_after="Sat, 21 Nov 2026 07:00:30 GMT").retry_after == 30
    assert refuse(503, retry_after="junk").retry_after is None


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"x_request_id": "r1"}, b"", "r1"),
        ({"request_id": "r2"}, b"", "r2"),
        ({}, anthropic("api_error"), "req_body"),
        ({"x_request_id": "r\x1b1"}, b"", None),
        ({"x_request_id": "r" * 1000}, b"", None),
        ({}, {"request_id": {"a": 1}}, None),
    ],
)
def test_request_ids(headers: dict[str, str], body: Any, request_id: str | None) -> None:
    assert refuse(500, body, **headers).request_id == request_id


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (openai("that model is gone"), "that model is gone"),
        (anthropic("x", "that model is gone"), "that model is gone"),
        ({"error": "model not found"}, "model not found"),
        ({"message": "plain"}, "plain"),
        ({"detail": "not authenticated"}, "not authenticated"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        (b"upstream connect error", "upstream connect error"),
        ("just text", "just text"),
        (b"", "no message"),
        (b"\xff\xfe broken", "broken"),
    ],
)
def test_the_providers_own_words_are_kept(body: Any, words: str) -> None:
    assert words in refuse(400, body).message


def test_long_and_wild_words_are_tamed() -> None:
    message = refuse(400, openai("\x1b[31mred\x1b[0m\u202e" + "x" * 5000)).message
    assert message.isprintable() and len(message) < 600


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://evil.example/steal?key=hunter2", "https://evil.example"),
        ("https://user:hunter2@evil.example/", "https://evil.example"),
        ("/login?next=hunter2", "a redirect, which"),
        ("//evil.example/hunter2", "http://evil.example"),
        ("http://[hunter2", "a malformed URL"),
        ("", "a redirect, which"),
    ],
)
def test_redirects_are_refused_and_only_their_origin_is_named(location: str, shown: str) -> None:
    error = refuse(307, location=location)
    assert type(error) is BadRequest and not error.retryable
    assert shown in error.message and "hunter2" not in error.message and "not followed" in error.message


@given(st.integers(300, 599), st.dictionaries(st.sampled_from(["retry-after", "location", "x-request-id"]), st.text()),
       st.binary())  # fmt: skip
def test_no_answer_is_too_odd(status: int, headers: dict[str, str], body: bytes) -> None:
    assert isinstance(refusal(status, headers, body, NOW), StepError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "type"]), inner),
)


@given(st.sampled_from([400, 429, 500]), json_values)
def test_no_json_is_too_odd(status: int, body: Any) -> None:
    assert refuse(status, body).http_status == status


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "no"}}, BadResponse),
        ({"error": {"message": "slow down", "code": 429}}, RateLimited),
        ({"error": {"message": "key", "code": 401}}, AuthFault),
        ({"error": {"message": "pay", "code": "insufficient_quota"}}, QuotaFault),
        ({"error": {"message": "no", "code": 7}}, BadResponse),
        ({"error": "text"}, BadResponse),
        ({"error": None}, BadResponse),
        ({}, BadResponse),
    ],
)
def test_errors_in_a_good_answers_clothes(body: dict[str, Any], kind: type[StepError]) -> None:
    error = refusal_inside(body, HttpResponse(200, {}, json.dumps(body).encode()), "choices")
    assert isinstance(error, kind)
