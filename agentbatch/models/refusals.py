"""What an HTTP answer that is not 2xx means: pure.

Which statuses are worth another attempt follows the official SDKs: 408, 409, 429 and all from 500 up; the server's
`x-should-retry` wins over that. Sources: https://platform.openai.com/docs/guides/error-codes,
https://docs.claude.com/en/api/errors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import orjson

from agentbatch.endpoints.retry_after import retry_after_seconds
from agentbatch.errors import (
    AuthFault,
    BadContent,
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
from agentbatch.record import record
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse

_MESSAGE_CHARS = 500
_ID_CHARS = 200

_QUOTA_WORDS = (
    "insufficient_quota",
    "billing",
    "insufficient_balance",
    "insufficient_credit",
    "exceeded_current_quota",
)
_KEY_PHRASES = ("api key not valid", "api key expired")
"""Gemini calls these an invalid argument."""
_QUOTA_PHRASES = ("credit balance is too low", "insufficient balance")
_FILTER_WORDS = ("content_filter", "content_policy", "responsibleaipolicyviolation", "moderation", "invalid_prompt")
_LENGTH_WORDS = ("context_length_exceeded", "exceed_context_size", "request_too_large", "string_above_max_length")
_LENGTH_PHRASES = (
    "maximum context length",
    "prompt is too long",
    "exceed context limit",
    "exceeds the available context size",
    "exceeds the maximum number of tokens",
)
_STATUS_FAULTS: Mapping[int, type[StepError]] = {
    401: AuthFault,
    402: QuotaFault,
    403: AuthFault,
    408: ServerFault,
    409: ServerFault,
    413: ContextLength,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,
}
_NAMED_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "server_is_overloaded": 529,
}
"""What an error's type or code would have been as a status, had the answer not begun already."""
_HINTS = {401: "check api_key", 403: "check api_key", 404: "check model and base_url"}


@record
class Complaint:
    """What a provider says about its refusal: a message for people, and its codes and types in lower case."""

    message: str
    words: tuple[str, ...] = ()
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds, where the body says them."""

    def has(self, words: tuple[str, ...], phrases: tuple[str, ...] = ()) -> bool:
        """Whether a code or type begins with one of `words`, or the message holds one of `phrases`."""
        message = self.message.lower()
        return any(own.startswith(words) for own in self.words) or any(phrase in message for phrase in phrases)


def refusal(status: int, headers: Mapping[str, str], body: bytes, now: float) -> StepError:
    """The error an answer stands for.

    Args:
        status: the HTTP status, not 2xx.
        headers: names in lower case.
        body: whatever came; OpenAI's and Anthropic's shapes, and those of their imitators, are understood.
        now: Unix time in seconds, for a `retry-after` that is a date.
    """
    if 300 <= status < 400:
        return _redirected(status, headers)
    complaint = read_complaint(body)
    asked = retry_after_seconds(headers, now)
    hint = f" ({_HINTS[status]})" if status in _HINTS else ""
    return fault_class(status, complaint)(
        f"HTTP {status}: {visible(complaint.message, _MESSAGE_CHARS) or 'no message'}{hint}",
        http_status=status,
        retry_after=complaint.retry_after if asked is None else asked,
        retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower()),
        request_id=request_id_of(headers) or complaint.request_id,
        headers=headers,
    )


def refusal_inside(answer: Mapping[str, Any], response: HttpResponse, wanted: str) -> StepError:
    """The error of a 2xx whose JSON is no answer. Routers put the error of the server behind them there.

    Args:
        answer: the parsed body.
        response: what came.
        wanted: the part that an answer would have.
    """
    request_id = request_id_of(response.headers)
    if not answer.get("error"):
        return BadContent(f"the answer has no {wanted}", http_status=response.status, request_id=request_id)
    inner = answer["error"]
    code = cast("dict[str, Any]", inner).get("code") if isinstance(inner, dict) else None
    if type(code) is int and 400 <= code < 600:
        return refusal(code, response.headers, response.body, time.time())
    complaint = read_complaint(response.body)
    known = fault_class(400, complaint)
    kind = BadResponse if known is BadRequest else known
    words = visible(complaint.message, _MESSAGE_CHARS)
    return kind(
        f"HTTP {response.status} with an error inside: {words}", http_status=response.status, request_id=request_id
    )


def refusal_amid(
    frame: Mapping[str, Any],
    data: bytes,
    headers: Mapping[str, str],
    what: str = "the stream broke off with an error",
) -> StepError:
    """The error that an event in the midst of a stream stands for.

    It has no `http_status`: that was a 200, and what was written until then may be billed.

    Args:
        frame: the event's data, parsed.
        data: the same as it came.
        headers: the answer's, names in lower case.
        what: went wrong, for people.
    """
    complaint = read_complaint(data)
    inner = frame.get("error")
    code = cast("dict[str, Any]", inner).get("code") if isinstance(inner, dict) else frame.get("code")
    if type(code) is int and 400 <= code < 600:
        kind = fault_class(code, complaint)
    else:
        status = next((_NAMED_STATUSES[word] for word in complaint.words if word in _NAMED_STATUSES), None)
        known = fault_class(status or 400, complaint)
        kind = BadResponse if known is BadRequest and status is None else known
    words = visible(complaint.message, _MESSAGE_CHARS) or "no message"
    return kind(f"{what}: {words}", request_id=request_id_of(headers))


def fault_class(status: int, complaint: Complaint) -> type[StepError]:
    """The class of an answer's error, by what its body says first and by its status second."""
    if "overloaded_error" in complaint.words:
        return Overloaded
    if status == 400 and complaint.has((), _KEY_PHRASES):
        return AuthFault
    if 400 <= status < 500 and complaint.has(_QUOTA_WORDS, _QUOTA_PHRASES):
        return QuotaFault
    if status in (400, 403, 422) and complaint.has(_FILTER_WORDS):
        return ContentFilter
    if status in (400, 422) and complaint.has(_LENGTH_WORDS, _LENGTH_PHRASES):
        return ContextLength
    return _STATUS_FAULTS.get(status) or (ServerFault if status >= 500 else BadRequest)


def read_complaint(body: bytes) -> Complaint:
    """What an error body says, in any of the shapes about."""
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Complaint(" ".join(body[:4000].decode("utf-8", "replace").split()))
    if isinstance(data, list) and data:  # Gemini's OpenAI-compatible endpoint wraps its error in a list
        data = cast("list[Any]", data)[0]
    if not isinstance(data, dict):
        return Complaint("" if data is None else str(cast(object, data)))
    outer = cast("dict[str, Any]", data)
    inner: Any = outer.get("error", outer)
    error = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {"message": inner}
    words = tuple(word.lower() for word in _words(error))
    return Complaint(_message(error, outer), words, printable_id(outer.get("request_id")), _retry_delay(error))


def _retry_delay(error: Mapping[str, Any]) -> float | None:
    """Google sends no header, but a `google.rpc.RetryInfo` among the details, such as `{"retryDelay": "34.5s"}`."""
    details = error.get("details")
    for detail in cast("list[Any]", details) if isinstance(details, list) else []:
        delay = cast("dict[str, Any]", detail).get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return retry_after_seconds({"retry-after": delay[:-1]}, 0.0)
    return None


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request, fit for a log line."""
    for name in ("x-request-id", "request-id", "apim-request-id"):
        if value := printable_id(headers.get(name)):
            return value
    return None


def printable_id(value: Any) -> str | None:
    """`value` if it can be an id: text that is short and can be shown."""
    return value if isinstance(value, str) and 0 < len(value) <= _ID_CHARS and value.isprintable() else None


def _words(error: Mapping[str, Any]) -> Iterator[str]:
    for level in (error, error.get("innererror"), error.get("inner_error")):
        if isinstance(level, dict):
            fields = cast("dict[str, Any]", level)
            yield from (value for key in ("code", "type", "status") if isinstance(value := fields.get(key), str))


def _message(error: Mapping[str, Any], outer: Mapping[str, Any]) -> str:
    for source in (error, outer):
        for key in ("message", "detail", "error", "title"):
            value = source.get(key)
            if value:
                return value if isinstance(value, str) else orjson.dumps(value).decode()
    return orjson.dumps(outer).decode() if outer else ""


def _redirected(status: int, headers: Mapping[str, str]) -> BadRequest:
    """Only the origin is named: the rest of a redirect's target is the server's choice of text."""
    try:
        target = urlsplit(urljoin("http://same-origin", headers.get("location", "")))
        origin = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
    except ValueError:
        origin = "a malformed URL"
    where = "" if origin == "http://same-origin" else f" to {visible(origin, 200)}"
    return BadRequest(
        f"HTTP {status}: a redirect{where}, which is not followed (keys and prompts stay where the config sends them): "
        "set base_url to the final address",
        http_status=status,
        request_id=request_id_of(headers),
    )
