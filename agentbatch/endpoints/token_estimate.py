"""How many tokens a request will take: what is reserved before it is sent, and settled after.

UTF-8 bytes / 4 and a little per message, corrected by what the provider counted for earlier requests. Exact tokenizers
differ per model and download their tables at run time.
"""

from __future__ import annotations

from agentbatch.messages import ChatRequest, Usage
from agentbatch.record import record

_FIRST_GUESS_OUTPUT = 512
FILE_TOKENS = 1_000
"""Tokens of an image or a file, before the provider has counted any."""
_OUTPUT_PARAMS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens")


@record
class Estimate:
    """Tokens expected at worst. `input_guess` is the uncorrected guess, to learn from."""

    usage: Usage
    input_guess: int

    @property
    def total(self) -> int:
        return self.usage.input_tokens + self.usage.output_tokens


NOTHING_EXPECTED = Estimate(Usage(), 0)
"""For requests whose tokens nobody limits."""


class TokenEstimate:
    """Estimates for one model. Learns the ratio of real to guessed input tokens, and how long answers get."""

    def __init__(self) -> None:
        self._ratio = 1.0
        self._longest_output = 0.0

    def of(self, request: ChatRequest) -> Estimate:
        """What this request may take at worst."""
        guess = sum(_size(message.content) for message in request.messages) // 4 + 4 * len(request.messages)
        guess += FILE_TOKENS * sum(len(message.parts) for message in request.messages if message.parts)
        return Estimate(Usage(int(guess * self._ratio) + 1, self._output(request)), guess)

    def learn(self, estimate: Estimate, usage: Usage) -> int:
        """Take in what the provider counted; returns the tokens to settle, the estimate where it counted none."""
        if not usage.input_tokens and not usage.output_tokens:
            return estimate.total
        if estimate.input_guess:
            seen = usage.input_tokens / estimate.input_guess
            self._ratio = seen if seen > self._ratio else 0.98 * self._ratio + 0.02 * seen
        self._longest_output = max(float(usage.output_tokens), self._longest_output * 0.999)
        return usage.input_tokens + usage.output_tokens

    def _output(self, request: ChatRequest) -> int:
        cap = output_cap(request)
        if cap is not None:
            return cap
        return int(self._longest_output * 1.2) + 1 if self._longest_output else _FIRST_GUESS_OUTPUT


def output_cap(request: ChatRequest) -> int | None:
    """The most tokens an answer may have, where the request's params say so."""
    for name in _OUTPUT_PARAMS:
        cap = request.params.get(name)
        if isinstance(cap, int) and cap > 0:
            return cap
    return None


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
