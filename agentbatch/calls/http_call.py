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
from agentbatch.errors import BadRequest, BadResponse, RateLimited, ServerFault, StepError
from agentbatch.files.plain_json import to_plain
from agentbatch.record import record
from agentbatch.settings import Settings, TemplateText, TemplateValue
from agentbatch.templates import Template
from agentbatch.templates.tree import TemplateTree
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse, HttpTransport

_SERVER = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?=[/?#]|$)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


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
            BadRequest: the request can't be sent, or the server declined it (4xx, or a redirect).
            RateLimited, ServerFault, ConnectionFault: worth another attempt.
            BadResponse: the answer is not what `output` reads.
        """
        url, body = self._url(names), self._body(names)
        headers = {name.lower(): self._header(name, template, names) for name, template in self.headers.items()}
        if body is not None:
            headers.setdefault("content-type", body[0])
        if traceparent is not None:
            headers.setdefault("traceparent", traceparent)
        response = await self.transport.request(self.method, url, headers, None if body is None else body[1])
        if not 200 <= response.status < 300:
            raise status_fault(response)
        return self._read(response)

    def _url(self, names: Mapping[str, Any]) -> str:
        url = self.url.render(names)
        if not url.startswith(self.server) or _server_of(url) != _server_of(self.server):
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

    def _read(self, response: HttpResponse) -> Any:
        try:
            return read_output(self.output, response.body.decode("utf-8-sig", "replace"))
        except ValueError as error:
            raise BadResponse(f"the answer of {self.server}: {error}", http_status=response.status) from None


def _server_of(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def status_fault(response: HttpResponse) -> StepError:
    """What an answer that is no success means."""
    status = response.status
    says = visible(" ".join(response.body[:2000].decode("utf-8", "replace").split()), 500)
    message = f"HTTP {status}: {says}" if says else f"HTTP {status}"
    if 300 <= status < 400:
        target = visible(response.headers.get("location", ""), 200)
        return BadRequest(f"HTTP {status}: redirects to {target!r}, and redirects are not followed", http_status=status)
    if status not in _MAY_PASS:
        return BadRequest(message, http_status=status)
    kind = RateLimited if status == 429 else ServerFault
    return kind(message, http_status=status, retry_after=retry_after_seconds(response.headers, time.time()))
