"""A server of Anthropic's Message Batches that does wrong what can go wrong."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Damage = Callable[[int, list[dict[str, Any]]], tuple[bytes, int]]
"""From the number of a batch and its good results: what is sent, and how many bytes to cut off the first time."""


def whole(number: int, results: list[dict[str, Any]]) -> tuple[bytes, int]:
    return b"".join(json.dumps(each).encode() + b"\n" for each in results), 0


class CrookedMessageBatches:
    """What was submitted, and what is to go wrong.

    Attributes:
        lose: how many answers to a submission don't arrive, though it is accepted.
        refuse: the statuses of the first submissions, which are not accepted.
        polls: the statuses of the first looks, before one tells the truth.
        rest_s: what a look that is refused asks to wait (`Retry-After`); 0 for nothing.
        missing: how often results are not there, before they are.
        damage: what becomes of the results.
        step: told the name of each step when its request has been worked on and not yet answered.
    """

    def __init__(self) -> None:
        self.lose = self.missing = self.rest_s = 0
        self.refuse: list[int] = []
        self.polls: list[int] = []
        self.damage: Damage = whole
        self.step: Callable[[str], None] = lambda name: None
        self.submitted: Counter[str] = Counter()
        self.batches: list[dict[str, Any]] = []
        self._results: list[list[dict[str, Any]]] = []
        self._read: Counter[int] = Counter()
        self._lock = threading.Lock()

    def name_of(self, method: str, path: str) -> str:
        """The step that a request is."""
        return f"{method} {'results' if path.endswith('/results') else 'batches'}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, int] | None:
        """Status, body, and bytes to cut off; None to close without an answer."""
        with self._lock:
            return self._answer(method, path.removeprefix("/v1/messages/batches"), body)

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, int] | None:
        if method == "POST" and not path:
            if self.refuse:
                return self.refuse.pop(0), b'{"type":"error","error":{"type":"x","message":"not now"}}', 0
            return self._submit(json.loads(body)["requests"])
        if not path or path.startswith("?"):
            return 200, json.dumps({"data": self.batches[::-1], "has_more": False}).encode(), 0
        number = int(path.split("/")[1].rpartition("_")[2])
        if not path.endswith("/results"):
            if self.polls:
                return self.polls.pop(0), b'{"type":"error","error":{"type":"x","message":"not now"}}', 0
            return 200, json.dumps(self.batches[number]).encode(), 0
        self._read[number] += 1
        if self._read[number] <= self.missing:
            return 404, b'{"type":"error","error":{"type":"not_found_error","message":"no results yet"}}', 0
        sent, cut = self.damage(number, self._results[number])
        return 200, sent, cut if self._read[number] == self.missing + 1 else 0

    def _submit(self, requests: list[dict[str, Any]]) -> tuple[int, bytes, int] | None:
        self.submitted.update(request["custom_id"] for request in requests)
        self._results.append([succeeded(each["custom_id"], said(each["params"])) for each in requests])
        batch = {
            "id": f"msgbatch_{len(self.batches)}",
            "type": "message_batch",
            "processing_status": "ended",
            "created_at": datetime.now(UTC).isoformat(),
            "request_counts": {"succeeded": len(requests), "processing": 0, "errored": 0, "canceled": 0, "expired": 0},
        }
        self.batches.append(batch)
        self.lose -= 1
        return None if self.lose >= 0 else (200, json.dumps(batch).encode(), 0)


def said(params: dict[str, Any]) -> str:
    """The last message of a request."""
    content = params["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def succeeded(key: str, says: str) -> dict[str, Any]:
    message = {
        "id": f"msg_{key}",
        "type": "message",
        "role": "assistant",
        "model": "test-model",
        "content": [{"type": "text", "text": says}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return {"custom_id": key, "result": {"type": "succeeded", "message": message}}
