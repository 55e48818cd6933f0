"""Agent2Agent 1.0 as JSON-RPC messages: what is sent, and what answers mean. Pure.

Source: https://a2a-protocol.org/latest/specification/ (the JSON-RPC binding).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import orjson

from agentbatch.errors import BadRequest, BadResponse, ServerFault
from agentbatch.record import record
from agentbatch.text.redact import visible

VERSION = "1.0"
CARD_PATH = "/.well-known/agent-card.json"
_INTERNAL_ERROR = -32603
_WAITS = {
    "TASK_STATE_INPUT_REQUIRED": "wants more input",
    "TASK_STATE_AUTH_REQUIRED": "wants to be authorised",
}
_ENDED = {"TASK_STATE_FAILED": "failed", "TASK_STATE_CANCELED": "was cancelled"}

Json = Mapping[str, Any]


@record
class Answer:
    """What an agent said: its text, or the id of the task that is at it."""

    text: str | None
    task: str = ""


def card_url(url: str) -> str:
    """Where the card of the agent at `url` is; a URL that ends in `.json` is a card's own."""
    return url if url.endswith(".json") else url.rstrip("/") + CARD_PATH


def endpoint_of(card: bytes) -> str:
    """The URL that an agent's card wants messages sent to.

    Raises:
        BadResponse: it is no card, or the agent does not speak JSON-RPC in version 1.0.
    """
    spoken: list[str] = []
    for interface in map(_fields, _items(_object(card, "the agent card").get("supportedInterfaces"))):
        binding, version = interface.get("protocolBinding"), str(interface.get("protocolVersion", ""))
        if binding == "JSONRPC" and version.split(".")[0] == "1":
            return str(interface.get("url") or "")
        spoken.append(f"{binding} {version}")
    raise BadResponse(
        f"the agent card names no interface for JSON-RPC and A2A 1.0: {visible(', '.join(spoken), 200) or 'none'}",
        retry=False,
    )


def call(method: Literal["SendMessage", "GetTask"], params: Json) -> bytes:
    """The body of a request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def message(text: str, asked: Any) -> dict[str, Any]:
    """The parameters that send a message, and want to hear of its task at once. `asked` tells it from all others: when
    it is sent again, its id is the same."""
    own = hashlib.blake2b(orjson.dumps(asked), digest_size=16).hexdigest()
    sent = {"messageId": own, "role": "ROLE_USER", "parts": [{"text": text}]}
    return {"message": sent, "configuration": {"returnImmediately": True}}


def read_answer(body: bytes) -> Answer:
    """What came of a message, or of a look at a task.

    Raises:
        BadRequest: the agent declined.
        ServerFault: its task failed, or it has a fault of its own.
        BadResponse: it wants something that nobody here can give, or this is no answer.
    """
    answer = _object(body, "the agent's answer")
    if answer.get("error") is not None:
        raise _refusal(answer["error"])
    result = _fields(answer.get("result"))
    if not result:
        raise BadResponse("the agent's answer has neither result nor error")
    if "message" in result:
        return Answer(_text(result["message"]))
    return _of_task(_fields(result.get("task", result)))


def _of_task(task: Json) -> Answer:
    status = _fields(task.get("status"))
    state = str(status.get("state", ""))
    if state == "TASK_STATE_COMPLETED":
        return Answer(_made(task, status), str(task.get("id", "")))
    says = visible(" ".join(_text(status.get("message")).split()), 500)
    why = f": {says}" if says else ""
    if state in _ENDED:
        raise ServerFault(f"the agent's task {_ENDED[state]}{why}", retry=False)
    if state == "TASK_STATE_REJECTED":
        raise BadRequest(f"the agent rejected the task{why}")
    if state in _WAITS:
        raise BadResponse(f"the agent {_WAITS[state]}, which nobody here can give{why}", retry=False)
    if not task.get("id"):
        raise BadResponse("the agent's answer is neither a message nor a task")
    return Answer(None, str(task["id"]))


def _made(task: Json, status: Json) -> str:
    """What a task made: its artifacts, or where it has none the last that was said."""
    texts = [_text(artifact) for artifact in _items(task.get("artifacts"))]
    if not texts and status.get("message"):
        texts = [_text(status["message"])]
    if not texts:
        said = [entry for entry in _items(task.get("history")) if _fields(entry).get("role") == "ROLE_AGENT"]
        texts = [_text(entry) for entry in said[-1:]]
    return "\n".join(texts)


def _text(holder: Any) -> str:
    """The parts of a message or an artifact, as text."""
    return "\n".join(_part_texts(_items(_fields(holder).get("parts"))))


def _part_texts(parts: list[Any]) -> Iterator[str]:
    for part in map(_fields, parts):
        if isinstance(part.get("text"), str):
            yield part["text"]
        elif "data" in part:
            yield orjson.dumps(part["data"]).decode()
        elif "url" in part or "raw" in part:
            about = (part.get("filename"), part.get("mediaType"), part.get("url"))
            yield f"[file: {', '.join(str(each) for each in about if each) or 'not shown'}]"


def _refusal(error: Any) -> BadRequest | ServerFault:
    fields = _fields(error) or {"message": error}
    code = fields.get("code")
    said = visible(str(fields.get("message") or "no message"), 500)
    kind = ServerFault if code == _INTERNAL_ERROR else BadRequest
    return kind(f"the agent declined: {said} ({code})")


def _object(body: bytes, what: str) -> Json:
    try:
        value: Any = orjson.loads(body)
    except ValueError:
        says = visible(" ".join(body[:400].decode("utf-8", "replace").split()), 120)
        raise BadResponse(f"{what} is no JSON: {says or 'nothing'}") from None
    if not isinstance(value, dict):
        raise BadResponse(f"{what} is no JSON object")
    return cast("Json", value)


def _fields(value: Any) -> Json:
    """The value if it is an object; else nothing."""
    return cast("Json", value) if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    """The value if it is a list; else nothing."""
    return cast("list[Any]", value) if isinstance(value, list) else []
