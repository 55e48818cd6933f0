"""The tool `http_get`: pages of servers on a list."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from agentbatch.assembly import Assembly
from agentbatch.calls.http_call import status_fault
from agentbatch.errors import ToolFault
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.settings import Settings
from agentbatch.step import Visit
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import listing
from agentbatch.tools.base import ToolConfig
from agentbatch.tools.files import text_of
from agentbatch.tools.parameters import parameter_schema
from agentbatch.transports.base import HttpTransport

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9._:\[\]-]+")
_SAFE = "/%:@!$&'()*+,;=-._~?"
_PARAMETERS = {"url": {"type": "string", "description": "An http or https URL."}}


def _checked(hosts: list[str]) -> list[str]:
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{host!r} is no host: write example.com, *.example.com or example.com:8080")
    return [host.lower() for host in hosts]


class HttpGetFields(Settings):
    """Where pages may come from."""

    hosts: Annotated[list[str], Field(min_length=1), AfterValidator(_checked)]
    """Servers that may be asked: `example.com`, `*.example.com` for all below it, `localhost:8080` for another port."""


class HttpGetToolConfig(ToolConfig):
    """Reads pages of the servers on its list, and of no others. Redirects are told, not followed."""

    http_get: HttpGetFields
    """The list."""


@record
class HttpGetTool:
    """Gets one page."""

    spec: ToolSpec
    hosts: tuple[str, ...]
    transport: HttpTransport

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """The page's text.

        Raises:
            ToolFault: the URL is none, its server is not on the list, or the page is no text.
            StepError: the server could not be reached, or declined.
        """
        url = self._allowed(arguments["url"])
        headers = {"accept": "text/*, application/json", "user-agent": "agentbatch"}
        response = await self.transport.request("GET", url, headers, None)
        if not 200 <= response.status < 300:
            raise status_fault(response)
        return text_of(response.body, url)

    def _allowed(self, url: str) -> str:
        """The URL, put together again from its parts: what was checked and what is asked can't be read differently.

        Raises:
            ToolFault: it is none, or its server is not on the list.
        """
        parts, host, port = _parsed(url)
        if not any(_fits(host, port, parts.scheme, allowed) for allowed in self.hosts):
            raise ToolFault(f"{visible(host, 80)!r} is not among the hosts: {listing(self.hosts, 30)}")
        server = f"[{host}]" if ":" in host else host
        server = server if port is None else f"{server}:{port}"
        return urlunsplit((parts.scheme, server, quote(parts.path or "/", _SAFE), quote(parts.query, _SAFE), ""))


def _parsed(url: str) -> tuple[SplitResult, str, int | None]:
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ToolFault("the url holds a blank, a backslash or a control character")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except ValueError:
        raise ToolFault(f"{visible(url, 200)!r} is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ToolFault(f"{visible(url, 200)!r} is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ToolFault("the url holds a user name")
    return parts, host, port


def _fits(host: str, port: int | None, scheme: str, allowed: str) -> bool:
    name, _, wanted_port = allowed.rpartition(":") if re.search(r"[^:]:\d+$|\]:\d+$", allowed) else (allowed, "", "")
    name = name.strip("[]")
    standard = {"http": 80, "https": 443}[scheme]
    if (port or standard) != (int(wanted_port) if wanted_port else standard):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and not _is_address(host)
    return host == name


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def build(config: HttpGetToolConfig, name: str, assembly: Assembly) -> HttpGetTool:
    """The tool that `config` describes."""
    hosts = config.http_get.hosts
    description = config.description or f"Get a page from {listing(hosts, 30)}."
    spec = ToolSpec(name, description, parameter_schema(_PARAMETERS))
    return HttpGetTool(spec, tuple(hosts), assembly.transport("direct"))
