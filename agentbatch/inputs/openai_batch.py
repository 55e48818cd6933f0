"""Inputs in the shape of OpenAI's Batch API: one request a line, `{custom_id, method, url, body}`.

Source: https://platform.openai.com/docs/api-reference/batch/request-input
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from agentbatch.inputs.reader import Inputs
from agentbatch.inputs.records import Record

_ENDPOINT = "/chat/completions"


def as_requests(inputs: Inputs) -> Inputs:
    """The same inputs, each line a request whose `custom_id` names its item."""
    return replace(inputs, records=lambda: _requests(inputs.records()))


def _requests(records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        fault = record.fault or _fault_of(record.value)
        if fault is not None:
            yield Record(record.line, None, fault, _name_of(record.value))
            continue
        fields = cast(dict[str, Any], record.value)
        yield Record(record.line, {**fields, "id": fields["custom_id"]})


def _name_of(value: Any) -> str | None:
    """What whoever wrote the request will look for."""
    name = cast(dict[str, Any], value).get("custom_id") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else None


def _fault_of(value: Any) -> str | None:
    """Why this is no request for a chat completion; None where it is one."""
    if not isinstance(value, dict):
        return "no request: expected {custom_id, method, url, body}"
    fields = cast(dict[str, Any], value)
    name, url = fields.get("custom_id"), fields.get("url")
    if not isinstance(name, str) or not name:
        return "`custom_id` must be a string that is not empty"
    if fields.get("method", "POST") != "POST" or not isinstance(url, str) or not url.endswith(_ENDPOINT):
        return f"only POST requests to /v1{_ENDPOINT} can be run"
    if not isinstance(fields.get("body"), dict):
        return "`body` must be an object, the request itself"
    return None
