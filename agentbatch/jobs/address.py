"""Where a cluster's dashboard is, and the token that it may want."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from agentbatch.errors import ConfigError
from agentbatch.record import record

_PORT = 8265


@record
class ClusterAddress:
    """`url` without a slash at its end; `token` is empty where none is known."""

    url: str
    token: str


def cluster_address(given: str | None, environ: Mapping[str, str]) -> ClusterAddress:
    """The dashboard's URL as given, else from `RAY_API_SERVER_ADDRESS` or `RAY_ADDRESS`, as Ray's own tools do.

    Raises:
        ConfigError: there is none, or it is no such URL.
    """
    found = given or environ.get("RAY_API_SERVER_ADDRESS") or environ.get("RAY_ADDRESS") or ""
    if not found:
        raise ConfigError("which cluster? Give --address http://HEAD:8265, the URL of its dashboard")
    parts, port = _split(found)
    if port == 6379:
        raise ConfigError(f"--address: 6379 is where nodes and drivers join; jobs go to the dashboard, port {_PORT}")
    if port is None and parts.scheme == "http":
        parts = parts._replace(netloc=f"{parts.netloc}:{_PORT}")
    return ClusterAddress(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", _token(environ))


def _split(found: str) -> tuple[SplitResult, int | None]:
    """A URL's parts and its port; a machine's name alone is one of http."""
    try:
        parts = urlsplit(found if "://" in found else f"http://{found}")
        port = parts.port
    except ValueError:  # brackets without an end, or a port that is no number
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--address: expected the dashboard's URL, as http://HEAD:{_PORT}, not {found!r}")
    return parts, port


def _token(environ: Mapping[str, str]) -> str:
    """As Ray's own tools find it: `RAY_AUTH_TOKEN`, the file of `RAY_AUTH_TOKEN_PATH`, `~/.ray/auth_token`.

    A cluster without tokens ignores it.
    """
    if environ.get("RAY_AUTH_MODE", "token") != "token":
        return ""
    if token := environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        return (Path(path) if path else Path.home() / ".ray" / "auth_token").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""
