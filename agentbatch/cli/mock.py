"""`agentbatch mock`: a local endpoint to try configs against, as slow and as faulty as one asks for."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from agentbatch.errors import AgentBatchError, ConfigError
from agentbatch.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from agentbatch.mock_server import MockServer, MockServerSettings

_SPREAD = ("rate_limited", "overloaded", "server")
"""The kinds that `--error-rate` is shared among: those that a client should try again."""


def mock(
    port: Annotated[int | None, typer.Option(help="Listen here; 0 takes any free port. [default: 8000]")] = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address. [default: 127.0.0.1]")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file with any of the knobs; options win.")] = None,
    latency: Annotated[str | None, typer.Option(help="200ms, or 'p50=200ms,p95=1s', or 'min=..,max=..'.")] = None,
    error_rate: Annotated[float | None, typer.Option(help="Share of 429, 503 and 500 answers together.")] = None,
    errors: Annotated[str | None, typer.Option(help="Rates by kind: rate_limited=0.05,server=0.02.")] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute; beyond it 429.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute; beyond it 429.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests at once; beyond it 429.")] = None,
    hang: Annotated[float | None, typer.Option(help="Share of requests that get no answer.")] = None,
    disconnect: Annotated[float | None, typer.Option(help="Share of closed connections.")] = None,
    truncate: Annotated[float | None, typer.Option(help="Share of answers cut in the middle.")] = None,
    fail_first: Annotated[int | None, typer.Option(help="503 for the first so many requests.")] = None,
    require_key: Annotated[str | None, typer.Option(help="401 for any other key.")] = None,
    batch_delay: Annotated[str | None, typer.Option(help="How long a batch takes, as 30s. [default: 1s]")] = None,
    reply: Annotated[str | None, typer.Option(help="Template of the answer: 'You said {{ prompt }}'.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed, other answers and failures.")] = None,
    log: Annotated[str | None, typer.Option(help="One JSON line per request goes to this file.")] = None,
) -> None:
    """Serve a local OpenAI- and Anthropic-compatible endpoint until interrupted."""
    given = {
        "port": port,
        "host": host,
        "latency": None if latency is None else _latency(latency),
        "rpm": rpm,
        "tpm": tpm,
        "max_in_flight": max_in_flight,
        "hang": hang,
        "disconnect": disconnect,
        "truncate": truncate,
        "fail_first": fail_first,
        "require_key": require_key,
        "batch_delay": batch_delay,
        "reply": reply,
        "seed": seed,
        "log": log,
        "errors": _errors(error_rate, errors),
    }
    knobs = {} if config is None else _file(config)
    knobs.update({name: value for name, value in given.items() if value is not None})
    _run(_settings(knobs))


def _latency(text: str) -> Any:
    """`200ms` as it is, `p50=200ms,p95=1s` as a mapping."""
    return _pairs("--latency", text) if "=" in text else text


def _errors(rate: float | None, by_kind: str | None) -> dict[str, Any] | None:
    if rate is None and by_kind is None:
        return None
    if rate is not None and not 0 <= rate <= 1:
        raise ConfigError(f"--error-rate {rate:g}: expected a share of the requests, from 0 to 1")
    rates: dict[str, Any] = {} if rate is None else dict.fromkeys(_SPREAD, rate / len(_SPREAD))
    for kind, text in _pairs("--errors", by_kind or "").items():
        try:
            rates[kind] = text if kind == "retry_after" else float(text)
        except ValueError:
            raise ConfigError(f"--errors: {kind}={text}: expected a rate from 0 to 1") from None
    return rates


def _pairs(option: str, text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, sign, _ in parts:
        if not sign:
            raise ConfigError(f"{option}: {name.strip()!r}: expected NAME=VALUE, several of them separated by commas")
    return {name.strip(): value.strip() for name, _, value in parts}


def _file(path: Path) -> dict[str, Any]:
    import yaml  # late: only where there is a file

    try:
        value: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of knobs, such as `latency: 200ms`")
    return cast(dict[str, Any], value)


def _settings(knobs: dict[str, Any]) -> MockServerSettings:
    from pydantic import ValidationError  # late, with all that serves: `agentbatch --help` must stay quick

    from agentbatch.mock_server import MockServerSettings

    try:
        return MockServerSettings.model_validate(knobs)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(part) for part in error.errors())) from error


def _problem(error: Any) -> str:
    tags = ("constant", "log-normal", "uniform", "normal")
    place = ".".join(str(part) for part in error["loc"] if part not in tags)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = _known(error["loc"][:-1])
        message = f"no such knob{did_you_mean(str(error['loc'][-1]), known) or '; there are: ' + ', '.join(known)}"
    return f"{place}: {message}" if place else message


def _known(place: tuple[Any, ...]) -> list[str]:
    """The names of the knobs that belong where an unknown one stood."""
    from agentbatch.mock_server import MockServerSettings
    from agentbatch.models.mock_faults import FaultRates

    return list(FaultRates.model_fields if place == ("errors",) else MockServerSettings.model_fields)


def _run(settings: MockServerSettings) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # late and optional: it does not exist on Windows and PyPy
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(settings: MockServerSettings) -> None:
    from agentbatch.mock_server import MockServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with MockServer(settings) as server:
        typer.echo(_greeting(server), err=True)
        await stop.wait()


def _greeting(server: MockServer) -> str:
    """One line: where it is, and what to put into a config."""
    model = {
        "provider": "openai",
        "model": server.settings.models[0] if server.settings.models else "mock",
        "base_url": server.base_url,
        "api_key": "mock" if server.settings.require_key is None else "<the required key>",
    }
    snippet = ", ".join(f"{name}: {json.dumps(value) if ' ' in value else value}" for name, value in model.items())
    return f"agentbatch mock at {server.url}   models: {{mock: {{{snippet}}}}}"


def main() -> None:
    """This command alone: `python -m agentbatch.cli.mock`."""
    try:
        typer.run(mock)
    except AgentBatchError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(int(error.exit_code)) from None


if __name__ == "__main__":
    main()
