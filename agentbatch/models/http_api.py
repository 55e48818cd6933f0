"""What models behind an HTTP API share: where a request goes, with which key, and how its answer is received."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agentbatch.errors import ConfigError, StepError
from agentbatch.messages import ChatRequest, ChatResponse, Usage
from agentbatch.models.base import ServedModelConfig
from agentbatch.models.content_parts import NO_FILES, Files, read_files
from agentbatch.models.credentials import auth_header, endpoint_url, key_or_variable, secrets_in, sent_headers
from agentbatch.models.json_answer import parse_answer
from agentbatch.models.refusals import refusal
from agentbatch.models.request_body import refuse_stream
from agentbatch.models.streaming import Assembly, stream_answer
from agentbatch.record import record
from agentbatch.transports.base import HttpResponse, HttpTransport


@record
class Dialect:
    """How a provider speaks.

    Attributes:
        provider: its name in traces, as OpenTelemetry's gen_ai conventions have it.
        home: the provider's own server, which wants a key.
        variable: where that key is looked for.
        understand: the answer whose JSON came in a response, at once or in pieces; raises the `StepError` that it is.
        usage: what an answer's JSON says was used, whatever else it is.
        assembly: puts the events of a stream together to the JSON that a request without `stream` gets.
    """

    provider: str
    home: str
    variable: str
    understand: Callable[[Mapping[str, Any], HttpResponse], ChatResponse]
    usage: Callable[[Mapping[str, Any]], Usage]
    assembly: Callable[[], Assembly]


class HttpApi:
    """One model's endpoint.

    Args:
        config: checked already.
        transport: how requests are sent; whoever opened it closes it.
        environ: where the default key is looked for; default: the process's environment.
        dialect: of the provider.
        path: of the endpoint, below the config's `base_url`; `query` is added to it.
        own_headers: those that the provider wants beside the key.

    Attributes:
        provider: its name in traces.
        secrets: the values that must never be shown.
        streams: whether answers are asked for piece by piece.

    Raises:
        ConfigError: a key is missing, or can't be sent.
    """

    def __init__(
        self,
        config: ServedModelConfig,
        transport: HttpTransport,
        environ: Mapping[str, str] | None,
        dialect: Dialect,
        path: str,
        *,
        query: str = "",
        own_headers: Mapping[str, str] | None = None,
    ) -> None:
        key = _key(config, dialect, os.environ if environ is None else environ)
        self._transport = transport
        self._config = config
        self._query = query
        self._dialect = dialect
        self.provider = dialect.provider
        self._url = endpoint_url(config.base_url, path, query)
        self._headers = sent_headers({**(own_headers or {}), **auth_header(config.auth, key)}, config.extra_headers)
        self._chunk_timeout = config.chunk_timeout
        self.streams = config.stream
        self.secrets = secrets_in(key, config.extra_headers)

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of every request, names in lower case."""
        return self._headers

    def url(self, path: str) -> str:
        """Another endpoint of the same server; `path` may have a query."""
        bare, _, query = path.partition("?")
        return endpoint_url(self._config.base_url, bare, "&".join(filter(None, (self._query, query))))

    async def ask(self, request: ChatRequest, encode: Callable[[ChatRequest, Files], bytes]) -> ChatResponse:
        """Send one request.

        Raises:
            StepError: there was no good answer. What a bad one used, as far as it says so, is in its `usage`.
        """
        headers = self._headers
        if request.traceparent is not None:
            headers = {**headers, "traceparent": request.traceparent}
        body = await self.body_of(request, encode)
        if self.streams:
            return with_body(*await self._stream(headers, body), request)
        response = await self._transport.request("POST", self._url, headers, body)
        if not 200 <= response.status < 300:
            raise refusal(response.status, response.headers, response.body, time.time())
        answer = parse_answer(response.body)
        return with_body(self.understood(answer, response), answer, request)

    async def body_of(self, request: ChatRequest, encode: Callable[[ChatRequest, Files], bytes]) -> bytes:
        """The body that a request is sent with, and whatever files it brings along in it."""
        refuse_stream(request.params)
        files = await read_files(request) if any(message.parts for message in request.messages) else NO_FILES
        return encode(request, files)

    async def _stream(self, headers: Mapping[str, str], body: bytes) -> tuple[ChatResponse, dict[str, Any]]:
        assembly = self._dialect.assembly()
        try:
            came = await stream_answer(self._transport, self._url, headers, body, assembly, self._chunk_timeout)
        except StepError as error:
            error.usage = self._used(assembly.answer())
            raise
        understood = self.understood(came.answer, came.response)
        return replace(understood, first_token_s=came.first_token_s), came.answer

    def understood(self, answer: Mapping[str, Any], response: HttpResponse) -> ChatResponse:
        """The answer whose JSON came in `response`; raises the `StepError` that it is."""
        try:
            return self._dialect.understand(answer, response)
        except StepError as error:
            error.usage = self._used(answer)
            raise

    def _used(self, answer: Mapping[str, Any]) -> Usage | None:
        usage = self._dialect.usage(answer)
        return usage if usage.input_tokens or usage.output_tokens else None


def with_body(response: ChatResponse, answer: dict[str, Any], request: ChatRequest) -> ChatResponse:
    """To a request that was sent as it is, the answer as it came belongs."""
    return replace(response, provider_data={"body": answer}) if "messages" in request.params else response


def _key(config: ServedModelConfig, dialect: Dialect, environ: Mapping[str, str]) -> str | None:
    if urlsplit(config.base_url).hostname != urlsplit(dialect.home).hostname:
        return None if config.api_key is None else config.api_key.get_secret_value()
    key = key_or_variable(config.api_key, dialect.variable, environ)
    if key is None:
        raise ConfigError(
            f"model {config.model}: no key for {dialect.home}: set {dialect.variable}, or the model's api_key, or the "
            "base_url of a server that needs none"
        )
    return key
