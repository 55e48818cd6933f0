"""Keys and headers that can be sent, and which of them are secrets. A message about one never shows its value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from agentbatch.errors import ConfigError

_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)


_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"

HeaderName = Annotated[str, Field(pattern=_HEADER_NAME)]
"""A name that a header may have (RFC 9110 section 5.1)."""


def check_key(value: str) -> str:
    """The key as it is.

    Raises:
        ValueError: it could not stand in a header.
    """
    if not value:
        raise ValueError("is empty: set it, or leave the key out if the server needs none")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError(
            "has a control character, a space around it, or a character beyond ASCII (often a newline at its end): "
            "write the bare key"
        )
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    check_key(value.get_secret_value())
    return value


ApiKey = Annotated[SecretStr, AfterValidator(_check_secret)]
"""A provider's key: hidden in every repr, refused when it could not be sent."""


def _check_base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or not value.isprintable() or " " in value:
        raise ValueError("must be a URL such as https://api.example.com/v1")
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold a user or password: use api_key or extra_headers")
    return value


BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
"""Where an API begins, without the endpoint's own path."""


def endpoint_url(base_url: str, path: str, query: str = "") -> str:
    """`path` below `base_url`, less what of it stands there already; a query that `base_url` has is kept."""
    parts = urlsplit(base_url)
    whole = parts.path.rstrip("/")
    steps = path.split("/")[1:]
    there = next(n for n in range(len(steps), -1, -1) if whole.endswith("".join(f"/{step}" for step in steps[:n])))
    whole += "".join(f"/{step}" for step in steps[there:])
    return parts._replace(path=whole, query="&".join(filter(None, (parts.query, query))), fragment="").geturl()


def key_or_variable(key: SecretStr | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """The configured key, or the environment's; None where there is neither.

    Raises:
        ConfigError: the environment's can't be sent.
    """
    if key is not None:
        return key.get_secret_value()
    value = environ.get(variable)
    if not value:
        return None
    try:
        return check_key(value)
    except ValueError as error:
        raise ConfigError(f"{variable} {error}") from None


def auth_header(auth: str, key: str | None) -> dict[str, str]:
    """The header that carries the key: `bearer`, or the name of a header of its own."""
    if key is None:
        return {}
    return {"authorization": f"Bearer {key}"} if auth.lower() == "bearer" else {auth: key}


def sent_headers(own: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The headers of every request, names in lower case: those of the provider's API, and on top the configured ones.

    Raises:
        ConfigError: a configured name or value holds what no header may.
    """
    for name, value in extra.items():
        if not re.fullmatch(_HEADER_NAME, name):
            raise ConfigError(f"extra_headers: {name!r} is no header name")
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"extra_headers.{name} has a control character or a character beyond ASCII")
    both = {"content-type": "application/json", **own}
    return {name.lower(): value for name, value in (*both.items(), *extra.items())}


def secrets_in(key: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values that must never be shown: the key, and headers whose name says so."""
    return tuple(dict.fromkeys(_secrets(key, headers)))


def _secrets(key: str | None, headers: Mapping[str, str]) -> Iterator[str]:
    if key:
        yield key
    for name, value in headers.items():
        if _SECRET_NAME.search(name):
            yield value
            yield value.rpartition(" ")[2]  # of `Bearer xyz` the latter part is the secret
