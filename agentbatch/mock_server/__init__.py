"""A local endpoint that speaks OpenAI and Anthropic, and can be as slow, strict and broken as a test needs."""

from agentbatch.mock_server.server import MockServer
from agentbatch.mock_server.settings import MockServerSettings

__all__ = ["MockServer", "MockServerSettings"]
