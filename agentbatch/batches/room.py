"""All models of one run whose requests go through batches: made from the config, told of, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from agentbatch.batches.anthropic import AnthropicBatches
from agentbatch.batches.base import BatchApi
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.desk import BatchDesk
from agentbatch.batches.endpoint import BatchedEndpoint
from agentbatch.batches.exchange import Exchange
from agentbatch.batches.openai import OpenAIBatches
from agentbatch.batches.store import BatchStore
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.endpoints.endpoint import Endpoint
from agentbatch.endpoints.pool import EndpointPool
from agentbatch.errors import ConfigError, OutputError
from agentbatch.messages import ChatRequest
from agentbatch.models.anthropic import AnthropicModel
from agentbatch.models.base import HttpModelConfig, ModelConfig
from agentbatch.models.openai import OpenAIModel
from agentbatch.process.control import Control
from agentbatch.text import figures
from agentbatch.transports.base import HttpTransport
from agentbatch.transports.http import open_transport

_MAX_RESULTS_BYTES = 4 * 1024**3
"""Results of a batch are read line by line, whatever their size."""


class BatchRoom:
    """The batches of one run.

    Args:
        path: where is kept which request is in which batch; None where results go to stdout.
        control: the run's stop switch.

    Attributes:
        waiting: the items that wait for batches.
    """

    def __init__(self, path: Path | None, control: Control) -> None:
        self.waiting = WaitingRoom()
        self._path = path
        self._control = control
        self._store: BatchStore | None = None
        self._doors: list[BatchedEndpoint] = []
        self._transports: list[HttpTransport] = []
        self._submitting: dict[str, asyncio.Lock] = {}

    def door(self, online: Endpoint | EndpointPool, config: ModelConfig, askers: int = 1) -> BatchedEndpoint | None:
        """How a model is asked through batches; None where it is asked the ordinary way.

        `askers` agents ask it: so many requests an item is expected to make.

        Raises:
            ConfigError: there is no file of results beside which to keep what is submitted.
            OutputError: what an earlier run submitted can't be read.
        """
        asked = getattr(config, "provider_batch", False)
        if asked is False or not isinstance(config, HttpModelConfig):
            return None
        if not isinstance(online, Endpoint):
            raise ConfigError(
                f"model {online.name}: provider_batch and endpoints: a batch belongs to one server and one key"
            )
        name = online.settings.name
        if self._path is None:
            raise ConfigError(
                f"models.{name}.provider_batch: with results on stdout nothing is kept, and a batch would be lost with"
                " the run: give -o a file"
            )
        if getattr(config, "stream", False):
            raise ConfigError(f"models.{name}.stream: a batch's answers can't be streamed: leave it out")
        own = ProviderBatchConfig() if asked is True else asked
        transport = open_transport(config.transport, max_body_bytes=_MAX_RESULTS_BYTES)
        self._transports.append(transport)
        self._store = self._store or BatchStore(self._path)
        model = online.model
        assert isinstance(model, OpenAIModel | AnthropicModel)
        submitting = self._submitting.setdefault(model.api.url(""), asyncio.Lock())
        api = _api_of(model, transport)
        desk = BatchDesk(name, api, self._store, self.waiting, self._control, own, submitting)

        async def body_of(request: ChatRequest) -> bytes:
            return await model.api.body_of(request, model.encode)

        made = BatchedEndpoint(online, desk, self.waiting, body_of, own, askers)
        self._doors.append(made)
        self.waiting.most = max(self.waiting.most, own.max_waiting)
        return made

    @property
    def words(self) -> str:
        """What is in batches now, for people; empty where nothing is."""
        return "; ".join(_words(door.desk) for door in self._doors if door.desk.carried or door.desk.gathering)

    @property
    def unanswered(self) -> int:
        """Requests that wait for batches."""
        return sum(door.desk.unanswered for door in self._doors)

    def seconds_online(self, items: int) -> float:
        """How long so many items would take the ordinary way, one model after the other."""
        return sum(items * door.seconds_an_item for door in self._doors)

    def give_up(self, patience_s: float) -> None:
        """Batches would come too late: whatever they have not answered is asked the ordinary way.

        Providers get so many seconds to cancel what they have, and to hand out what they had answered.
        """
        for door in self._doors:
            door.desk.give_up(patience_s)

    @property
    def failure(self) -> OutputError | None:
        """Why what is submitted can't be kept any more."""
        return next((door.desk.failure for door in self._doors if door.desk.failure is not None), None)

    def notes(self) -> Iterator[str]:
        """What a person should know at the end of the run."""
        for door in self._doors:
            desk, name = door.desk, door.settings.name
            for carried in desk.carried.values():
                if carried.state.words != "submitting":
                    yield (
                        f"batch {carried.state.id} of model {name} ({figures.counted(carried.stored.count, 'request')})"
                        " goes on at the provider: the same command fetches its answers, also days later"
                    )
            if door.sent_online:
                yield (
                    f"model {name}: batches answered {figures.counted(door.answered, 'request')} at half the price,"
                    f" {figures.count(door.sent_online)} went the ordinary way"
                )

    async def close(self) -> None:
        """End what goes on here; batches stay at the provider."""
        for door in self._doors:
            await door.desk.close()
        for transport in self._transports:
            await transport.close()
        if self._store is not None:
            self._store.close()


def _api_of(model: OpenAIModel | AnthropicModel, transport: HttpTransport) -> BatchApi:
    exchange = Exchange(model.api, transport)
    return OpenAIBatches(exchange) if isinstance(model, OpenAIModel) else AnthropicBatches(exchange)


def _words(desk: BatchDesk) -> str:
    parts = [f"{figures.counted(desk.gathering, 'request')} gathered"] if desk.gathering else []
    for carried in list(desk.carried.values())[:3]:
        state = carried.state
        done = f", {figures.count(state.done)} of {figures.count(state.total)} done" if state.total else ""
        parts.append(f"{state.id or 'a batch'} {state.words}{done}")
    if len(desk.carried) > 3:
        parts.append(f"{len(desk.carried) - 3} more")
    return f"batches of model {desk.name}: {', '.join(parts)}"
