"""A server of OpenAI's batches that does wrong what can go wrong: answers lost, polls refused, results damaged."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Literal, Protocol

from end_to_end.rude_http import Reply, answering

Damage = Callable[[int, list[bytes]], tuple[bytes, bytes, int]]
"""From the number of a batch and its good lines: the output file, the error file, and how many bytes to cut off the
first time the output is asked for."""


def whole(number: int, lines: list[bytes]) -> tuple[bytes, bytes, int]:
    return b"\n".join(lines) + b"\n", b"", 0


class CrookedBatches:
    """What was uploaded and submitted, and what is to go wrong.

    Attributes:
        lose: how many answers to a submission don't arrive, though it is accepted.
        polls: the statuses of the first looks, before one tells the truth.
        rest_s: what a look that is refused asks to wait (`Retry-After`); 0 for nothing.
        looks: when batches were looked at, by `perf_counter()`.
        damage: what becomes of the results.
        step: told the name of each step when its request has been worked on and not yet answered.
    """

    def __init__(self) -> None:
        self.lose = 0
        self.polls: list[int] = []
        self.rest_s = 0
        self.looks: list[float] = []
        self.damage: Damage = whole
        self.step: Callable[[str], None] = lambda name: None
        self.submitted: Counter[str] = Counter()
        self.batches: list[dict[str, Any]] = []
        self._files: dict[str, bytes] = {}
        self._read: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, int] | None:
        """Status, body, and bytes to cut off; None to close without an answer."""
        with self._lock:
            return self._answer(method, path.removeprefix("/v1"), body)

    def name_of(self, method: str, path: str) -> str:
        """The step that a request is."""
        return f"{method} {path.removeprefix('/v1').split('/')[1].partition('?')[0]}"

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, int] | None:
        if method == "POST" and path == "/files":
            name = f"file-{len(self._files)}"
            self._files[name] = body
            return 200, json.dumps({"id": name}).encode(), 0
        if method == "POST" and path == "/batches":
            return self._submit(json.loads(body))
        if method == "GET" and path.startswith("/batches?"):
            return 200, json.dumps({"data": self.batches[::-1], "has_more": False}).encode(), 0
        if method == "GET" and path.startswith("/batches/"):
            self.looks.append(perf_counter())
            if self.polls:
                return self.polls.pop(0), b'{"error":{"message":"not now"}}', 0
            return 200, json.dumps(next(each for each in self.batches if path.endswith(each["id"]))).encode(), 0
        name = path.split("/")[2]
        self._read[name] += 1
        cut = int(name.rpartition("-")[2]) if name.startswith("output") and self._read[name] == 1 else 0
        return 200, self._files[name], cut

    def _submit(self, wanted: dict[str, Any]) -> tuple[int, bytes, int] | None:
        number = len(self.batches)
        lines: list[bytes] = []
        for found in re.finditer(rb'^{"custom_id".*}\r?$', self._files[wanted["input_file_id"]], re.MULTILINE):
            request = json.loads(found[0])
            self.submitted[request["custom_id"]] += 1
            lines.append(_line(request["custom_id"], request["body"]["messages"][-1]["content"]))
        output, errors, cut = self.damage(number, lines)
        outputs, failures = f"output-{number}-{cut}", f"errors-{number}"
        self._files |= {outputs: output, failures: errors}
        counts = {"total": len(lines), "completed": len(lines), "failed": 0}
        batch = {"id": f"batch-{number}", "status": "completed", "output_file_id": outputs, "request_counts": counts}
        self.batches.append(batch | {"error_file_id": failures, "metadata": wanted["metadata"]})
        self.lose -= 1
        return None if self.lose >= 0 else (200, json.dumps(self.batches[-1]).encode(), 0)


def _line(key: str, says: str) -> bytes:
    message = {"role": "assistant", "content": says}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return json.dumps({"custom_id": key, "response": {"status_code": 200, "body": body | {"usage": usage}}}).encode()


class Crooked(Protocol):
    """A provider's side of batches."""

    step: Callable[[str], None]
    rest_s: int

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, int] | None: ...

    def name_of(self, method: str, path: str) -> str: ...


@contextmanager
def serving(batches: Crooked) -> Iterator[str]:
    """Its base URL, while it is there."""

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply | Literal["close"]:
        answer = batches.answer(method, path, body)
        batches.step(batches.name_of(method, path))
        if answer is None:
            return "close"
        status, data, cut = answer
        fields = {"content-type": "application/json"}
        if status != 200 and batches.rest_s:
            fields["retry-after"] = str(batches.rest_s)
        return Reply(status, fields, data, cut)

    with answering(answer) as origin:
        yield f"{origin}/v1"
