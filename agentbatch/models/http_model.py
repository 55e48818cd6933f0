"""A model behind an HTTP API. Each provider's says how a request is written in its dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod

from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.content_parts import NO_FILES, Files
from agentbatch.models.http_api import HttpApi


class HttpModel(ABC):
    """A `Model`.

    Attributes:
        name: the provider's name of the model.
        provider: its name in traces.
        api: where it is asked.
        secrets: the values that must never be shown.
    """

    def __init__(self, name: str, api: HttpApi) -> None:
        self.name = name
        self.provider = api.provider
        self.api = api
        self.secrets = api.secrets

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once."""
        return await self.api.ask(request, self.encode)

    @abstractmethod
    def encode(self, request: ChatRequest, files: Files = NO_FILES) -> bytes:
        """The request's body."""
