"""What models, tools and commands answered, on a file: one run records it, later ones replay it without asking anybody.

A recording is JSON lines, made to be kept beside a config and looked at in a review. A call is found by the digest of
all that was asked; where the same was asked more than once, by its item and place as well. What makes answers of one
model those of another (its provider, name and params) is part of the digest, the server and the key are not, so that a
replay needs neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import orjson

from agentbatch.errors import (
    AuthFault,
    InputError,
    OutputError,
    PermanentError,
    QuotaFault,
    ReplayMiss,
    StepError,
    ToolFault,
    TransientError,
)
from agentbatch.kept.journal import Place, digest
from agentbatch.record import record
from agentbatch.step import Visit

_HEAD = orjson.dumps({"agentbatch_recording": 1}) + b"\n"

_WORDS = {
    "messages": "its prompt",
    "model": "its model",
    "params": "its params",
    "tools": "its tools",
    "schema": "its output_schema",
    "seed": "the number of its copy",
}

Redact = Callable[[bytes], bytes]


@record
class TapedCall:
    """One call: of which item, in which place, and what was asked."""

    item: str | int
    place: Place
    asked: bytes

    @classmethod
    def of(cls, visit: Visit, place: Place, asked: bytes) -> TapedCall:
        """The call that a visit makes now."""
        return cls(visit.item.id, place, asked)


class Tape(Protocol):
    """What a run is recorded on, or replayed from."""

    @property
    def replays(self) -> bool:
        """Whether it answers: then nobody else is to be asked."""
        ...

    def find(self, call: TapedCall) -> Any:
        """What was answered, as plain JSON; None where that is to be found out now.

        Raises:
            ReplayMiss: the recording does not know it.
            StepError: as it was raised when it was recorded.
        """
        ...

    def keep(self, call: TapedCall, answer: Any) -> None:
        """Put down what was answered, as plain JSON."""
        ...

    def keep_failure(self, call: TapedCall, error: StepError) -> None:
        """Put down how it failed."""
        ...


class Recorder:
    """Writes a recording, line by line as calls end, behind what is in the file. Nothing secret gets into it.

    Args:
        path: the file; made where there is none.
        redact: takes secrets out.
        on_failure: called once, when the file can't be written.
        fresh: begin it anew.

    Raises:
        OutputError: the file can't be opened.
    """

    replays = False

    def __init__(
        self, path: Path, redact: Redact, on_failure: Callable[[OutputError], None], *, fresh: bool = False
    ) -> None:
        self.path = path
        self._redact = redact
        self._on_failure = on_failure
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0)
        try:
            self._fd = os.open(path, flags, 0o666)
            if not os.fstat(self._fd).st_size:
                os.write(self._fd, _HEAD)
        except OSError as error:
            raise OutputError(f"{path}: cannot be recorded to: {error.strerror}") from error

    def find(self, call: TapedCall) -> Any:
        """Nothing: whoever asks finds out."""
        return None

    def keep(self, call: TapedCall, answer: Any) -> None:
        """Put down what was answered."""
        self._write(call, {"answer": answer})

    def keep_failure(self, call: TapedCall, error: StepError) -> None:
        """Put down a failure."""
        failure = {"type": error.type, "message": error.message, "http_status": error.http_status}
        self._write(call, {"error": failure})

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
        self._fd = -1

    def _write(self, call: TapedCall, ended: dict[str, Any]) -> None:
        asked = self._redact(call.asked)
        line = {
            "item": call.item,
            "step": call.place.path,
            "call": call.place.number,
            "asked": digest(asked).hex(),
            "parts": _parts(asked),
            **ended,
        }
        try:
            # one write a line: it survives this process, and lines of several runs don't mix
            os.write(self._fd, self._redact(orjson.dumps(line)) + b"\n")
        except OSError as error:
            self._on_failure(OutputError(f"{self.path}: cannot be recorded to: {error.strerror}"))


class Replayer:
    """Answers from a recording, and from nothing else.

    Args:
        path: the recording.
        redact: as it was recorded, so that what was asked is found again.

    Attributes:
        misses: calls that the recording did not know.

    Raises:
        InputError: the file can't be read, or is no recording.
    """

    replays = True

    def __init__(self, path: Path, redact: Redact) -> None:
        self.path = path
        self.misses = 0
        self._redact = redact
        self._lines: dict[str, dict[tuple[str, str, int], bytes]] = {}
        self._places: dict[tuple[str, str, int], Mapping[str, str]] = {}
        """What was asked in each place, part by part."""
        try:
            self._read()
        except OSError as error:
            raise InputError(f"{path}: cannot be replayed: {error.strerror}. Record it first, with --record") from error

    def find(self, call: TapedCall) -> Any:
        """What was answered to it: in its own place, else where the same was asked first."""
        asked = self._redact(call.asked)
        known = self._lines.get(digest(asked).hex())
        if not known:
            self.misses += 1
            raise ReplayMiss(self._why(call, _parts(asked)))
        place = (str(call.item), call.place.path, call.place.number)
        line = orjson.loads(known.get(place) or next(iter(known.values())))
        if "error" in line:
            raise recorded_error(line["error"])
        return line["answer"]

    def keep(self, call: TapedCall, answer: Any) -> None:
        """Nothing: it is on the tape."""

    def keep_failure(self, call: TapedCall, error: StepError) -> None:
        """Nothing, as above."""

    def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> None:
        with self.path.open("rb") as file:
            if file.readline() != _HEAD:
                raise InputError(f"{self.path}: is no recording of agentbatch: make one with --record")
            for number, text in enumerate(file, start=2):
                if not text.endswith(b"\n"):
                    break  # torn when its run was killed
                try:
                    line = orjson.loads(text)
                    place = (str(line["item"]), line["step"], line["call"])
                    self._lines.setdefault(line["asked"], {})[place] = text
                    self._places[place] = dict(line.get("parts") or {})
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{self.path}:{number}: is no line of a recording: record it again") from error

    def _why(self, call: TapedCall, parts: Mapping[str, str]) -> str:
        step, item = call.place.path, call.item
        recorded = self._places.get((str(item), step, call.place.number))
        if recorded is not None:
            changed = [
                _WORDS.get(name, name) for name in {**recorded, **parts} if recorded.get(name) != parts.get(name)
            ]
            what = " and ".join(changed) or "its prompt, model, params or tools"
            why = f"was asked something else when it was recorded ({what} changed)"
        else:
            why = "was not recorded"
        return (
            f"{self.path} has no answer for call {call.place.number} of {step} on item {item}, which {why}:"
            " record it again with --record"
        )


def _parts(asked: bytes) -> dict[str, str]:
    """What was asked, each part as a short digest: a miss can say what is different. Only a model's has parts."""
    try:
        fields = orjson.loads(asked)
    except orjson.JSONDecodeError:  # which tools a server has is asked in words
        return {}
    if not isinstance(fields, dict):
        return {}
    parts = cast("dict[str, Any]", fields)
    return {name: digest(orjson.dumps(value)).hex()[:8] for name, value in parts.items()}


def recorded_error(fields: Mapping[str, Any]) -> StepError:
    """The failure again, as the class that its type stands for; it is not tried again."""
    kinds = {kind.type: kind for base in (TransientError, PermanentError) for kind in base.__subclasses__()}
    kind = kinds.get(fields["type"], ToolFault)
    return kind(fields["message"], http_status=fields["http_status"], retry=False)


def is_lasting(error: StepError) -> bool:
    """Whether a model's failure belongs into a recording: neither another attempt nor another key would mend it."""
    return isinstance(error, PermanentError) and not isinstance(error, AuthFault | QuotaFault)
