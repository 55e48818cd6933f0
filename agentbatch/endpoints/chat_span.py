"""What an answer leaves behind: in its span, for the trace, and in its visit, for the result line."""

from __future__ import annotations

from agentbatch.messages import ChatRequest, ChatResponse, Usage
from agentbatch.step import Visit
from agentbatch.trace import Span


def end_answered(span: Span, visit: Visit, request: ChatRequest, response: ChatResponse, cost: float | None) -> None:
    """End the span of a request with its answer, and count that for the item. `cost` is in US dollars, if known."""
    visit.count(response.usage, cost)
    describe(span, response, cost)
    note_request(visit, response.request_id)
    span.attributes["messages"] = request.messages
    visit.tracer.end(span)


def note_request(visit: Visit, request_id: str | None) -> None:
    """Keep the provider's id of a request for the result line: by it the provider finds what it did."""
    if request_id:
        visit.extra.setdefault("request_ids", []).append(request_id)


def describe(span: Span, response: ChatResponse, cost: float | None) -> None:
    attributes = span.attributes
    describe_usage(span, response.usage, cost)
    attributes["finish_reason"] = response.finish_reason
    if response.first_token_s is not None:
        attributes["first_token_s"] = response.first_token_s
    if response.request_id:
        attributes["request_id"] = response.request_id
    attributes["answer"] = response


def describe_usage(span: Span, usage: Usage, cost: float | None) -> None:
    """Note what was used, and what it cost in US dollars."""
    attributes = span.attributes
    attributes["input_tokens"] = usage.input_tokens
    attributes["output_tokens"] = usage.output_tokens
    attributes["cost_usd"] = cost
    if usage.cached_tokens:
        attributes["cached_tokens"] = usage.cached_tokens
    if usage.reasoning_tokens:
        attributes["reasoning_tokens"] = usage.reasoning_tokens
