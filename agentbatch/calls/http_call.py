"""One HTTP request as the config writes it: templates for its parts, a server that no template can change."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, Field

from agentbatch.calls.output_form import read_output
from agentbatch.endpoints.retry_after import retry_after_seconds
from agentbatch.errors import (
    AuthFault,
    BadRequest,
    BadResponse,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
)
from agentbatch.files.plain_json import to_plain
from agentbatch.record import record
from agentbatch.settings import Settings, TemplateText, TemplateValue
from agentbatch.templates import Template
from agentbatch.templates.tree import TemplateTree
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse, HttpTransport

_SERVER = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?=[/?#]|$)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_FAULTS: Mapping[int, type[StepError]] = {
    401: AuthFault,
    402: QuotaFault,
    403: AuthFault,
    408: ServerFault,
    409: ServerFault,
    425: ServerFault,
    429: RateLimited,
    501: BadRequest,
    503: Overloaded,
    505: BadRequest,
    529: Overloaded,
}
"""What a status means beside its class: RFC 9110 section 15, RFC 6585, RFC 8470."""


def check_url(url: str) -> str:
    """The URL's template, if its server is written out.

    Raises:
        ValueError: it is not: a template could send the request anywhere.
    """
    if _SERVER.match(url) is None:
        raise ValueError(
            "expected http:// or https://, a server's name and a path; templates may only stand behind the server"
        )
    return url


class HttpCallFields(Settings):
    """One HTTP request."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "GET"
    url: Annotated[TemplateText, AfterValidator(check_url)]
    """A template; the server's name is none. Values in it want `| urlencode`. Redirects are not followed."""
    headers: dict[str, TemplateText] = Field(default_factory=dict[str, TemplateText], repr=False)
    """Sent with it. A body that is not text is sent as `application/json`."""
    body: TemplateValue = None
    """A text is sent as it is, after its templates; any other value as JSON, with the texts in it as templates."""
    output: str = "text"
    """What of the answer is taken: `text`, `json`, `jsonl`, or a dotted path into the JSON, such as `data.answer`."""


@record
class HttpRequest:
    """One request, ready to be sent. Header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    async def send(self, transport: HttpTransport) -> HttpResponse:
        """Send it once.

        Raises:
            AuthFault, QuotaFault, BadRequest: the server declined it, or redirects.
            RateLimited, Overloaded, ServerFault, ConnectionFault: worth another attempt.
            BadResponse: what came is no HTTP, or too large.
        """
        response = await transport.request(self.method, self.url, self.headers, self.body)
        if not 200 <= response.status < 300:
            raise status_fault(response)
        return response


@record
class HttpCall:
    """A request whose templates are compiled."""

    method: str
    url: Template
    server: str
    headers: Mapping[str, Template]
    body: TemplateTree | None
    output: str
    transport: HttpTransport

    @classmethod
    def of(cls, config: HttpCallFields, where: str, transport: HttpTransport) -> HttpCall:
        """The request of a config section; `where` is that section's name in messages."""
        found = _SERVER.match(config.url)
        assert found is not None
        return cls(
            method=config.method,
            url=Template(config.url, where=f"{where}.url"),
            server=found[0],
            headers={name: Template(text, where=f"{where}.headers.{name}") for name, text in config.headers.items()},
            body=None if config.body is None else TemplateTree(config.body, where=f"{where}.body"),
            output=config.output,
            transport=transport,
        )

    async def send(self, names: Mapping[str, Any], traceparent: str | None = None) -> Any:
        """Send it once; what of the answer the config wants.

        Raises:
            TemplateFault, ConditionFault: a template can't be filled in.
            StepError: as of `HttpRequest.send`.
            BadResponse: the answer is not what `output` reads.
        """
        return self.read(await self.request(names, traceparent).send(self.transport))

    def request(self, names: Mapping[str, Any], traceparent: str | None = None) -> HttpRequest:
        """The request for one item.

        Raises:
            TemplateFault, ConditionFault: a template can't be filled in.
            BadRequest: it can't be sent.
        """
        url, body = self._url(names), self._body(names)
        headers = {name.lower(): self._header(name, template, names) for name, template in self.headers.items()}
        if body is not None:
            headers.setdefault("content-type", body[0])
        if traceparent is not None:
            headers.setdefault("traceparent", traceparent)
        return HttpRequest(self.method, url, headers, None if body is None else body[1])

    def read(self, response: HttpResponse) -> Any:
        """What of an answer the config wants.

        Raises:
            BadResponse: it is not there.
        """
        try:
            return read_output(self.output, text_of(response))
        except ValueError as error:
            raise BadResponse(f"the answer of {self.server}: {error}", http_status=response.status) from None

    def _url(self, names: Mapping[str, Any]) -> str:
        url = self.url.render(names)
        if not url.startswith(self.server) or not same_server(url, self.server):
            raise BadRequest(f"the url leads away from {self.server}")
        return _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", url)

    def _header(self, name: str, template: Template, names: Mapping[str, Any]) -> str:
        value = template.render(names)
        if any(char in value for char in "\r\n\0"):
            raise BadRequest(f"the header {name} holds a line break")
        return value

    def _body(self, names: Mapping[str, Any]) -> tuple[str, bytes] | None:
        """Content type and bytes."""
        if self.body is None:
            return None
        value = self.body.of(names)
        if isinstance(value, str):
            return "text/plain; charset=utf-8", value.encode("utf-8", "replace")
        return "application/json", orjson.dumps(to_plain(value))


def text_of(response: HttpResponse) -> str:
    """An answer's body as text."""
    return response.body.decode("utf-8-sig", "replace")


def same_server(url: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    return _server_of(url) == _server_of(other)


def _server_of(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def status_fault(response: HttpResponse) -> StepError:
    """What an answer that is no success means; the server's `x-should-retry` wins over its status."""
    status, headers = response.status, response.headers
    if 300 <= status < 400:
        target = visible(headers.get("location", ""), 200)
        return BadRequest(f"HTTP {status}: redirects to {target!r}, and redirects are not followed", http_status=status)
    says = visible(" ".join(response.body[:2000].decode("utf-8", "replace").split()), 500)
    kind = _FAULTS.get(status) or (ServerFault if status >= 500 else BadRequest)
    return kind(
        f"HTTP {status}: {says}" if says else f"HTTP {status}",
        http_status=status,
        retry_after=retry_after_seconds(headers, time.time()) if kind.transient else None,
        retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower()),
    )
