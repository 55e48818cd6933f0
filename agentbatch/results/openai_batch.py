"""Result lines in the shape of OpenAI's Batch API: `{id, custom_id, response: {status_code, request_id, body}, error}`.

Such a line is one of ours, with what the Batch API calls its parts in place of `output`: whoever reads batch outputs
finds what they look for, and runs are continued, reported on and compared as with any other. Source:
https://platform.openai.com/docs/api-reference/batch/request-output
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import orjson

OutputFormat = Literal["agentbatch", "openai-batch"]

_OURS = "agentbatch"
"""The model of a completion that no model gave: the output of a workflow."""


def as_batch_line(line: Mapping[str, Any], started_s: int) -> dict[str, Any]:
    """One of our lines in that shape. `started_s` is Unix time."""
    output, error = line["output"], line["error"]
    response: dict[str, Any] | None = None
    if error is None:
        response = _response(line, 200, _completion(line, output, started_s))
    elif error["http_status"] is not None:
        said = {"message": error["message"], "type": error["type"], "code": error["type"]}
        response = _response(line, error["http_status"], {"error": said})
    shaped = {name: value for name, value in line.items() if name not in ("output", "error")}
    return {
        **shaped,
        "id": str(line["id"]),
        "custom_id": str(line["id"]),
        "response": response,
        "error": None if error is None else {"code": error["type"], **error},
    }


def with_output(fields: dict[str, Any]) -> dict[str, Any]:
    """A line as ours, whichever of the two shapes it has."""
    if "output" in fields or "custom_id" not in fields:
        return fields
    response = cast("dict[str, Any]", fields["response"] or {})
    own = {name: value for name, value in fields.items() if name not in ("custom_id", "response")}
    if fields["error"] is not None:
        own["error"] = {name: value for name, value in fields["error"].items() if name != "code"}
    return {**own, "output": None if fields["error"] is not None else _said(response.get("body"))}


def _said(body: Any) -> Any:
    """The text of a completion that we made of an output; any other is the output itself."""
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return fields["choices"][0]["message"]["content"] if fields.get("model") == _OURS else cast("Any", body)


def _response(line: Mapping[str, Any], status: int, body: Any) -> dict[str, Any]:
    return {"status_code": status, "request_id": line["trace_id"], "body": body}


def _completion(line: Mapping[str, Any], output: Any, started_s: int) -> Any:
    """The output, if it is a chat completion as a `request` agent gives it, else one that says the output."""
    if isinstance(output, dict) and "choices" in output:
        return {"created": started_s, **cast("dict[str, Any]", output)}
    text = output if isinstance(output, str) else "" if output is None else orjson.dumps(output).decode()
    usage = cast("Mapping[str, int]", line.get("usage") or {})
    read, written = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    message = {"role": "assistant", "content": text}
    return {
        "id": f"chatcmpl-{line['trace_id']}",
        "object": "chat.completion",
        "created": started_s,
        "model": _OURS,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }
