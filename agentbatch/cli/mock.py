"""`agentbatch mock`: a local endpoint to try configs against, as slow and as faulty as one asks for."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentbatch.errors import AgentBatchError

if TYPE_CHECKING:
    import asyncio

    from agentbatch.mock_server import MockServer, MockServerSettings


def mock(
    context: typer.Context,
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
    from agentbatch.cli.mock_knobs import read_knobs  # late, with all that serves: `agentbatch --help` must stay quick

    options = {name: value for name, value in context.params.items() if name != "config"}
    _run(read_knobs(config, options))


def _run(settings: MockServerSettings) -> None:
    from asyncio import Runner  # late, as all that serves

    with Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # late and optional: it does not exist on Windows and PyPy
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(settings: MockServerSettings) -> None:
    import asyncio  # late, as above

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
