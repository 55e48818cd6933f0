"""The default agent: render the prompt, ask the model, check the answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agentbatch.agents.base import AgentConfig
from agentbatch.settings import PositiveInt


class ChatConfig(AgentConfig):
    """One prompt, one answer."""

    kind: Literal["chat"] = "chat"
    model: str
    """A name under `models`."""
    instructions: str | None = None
    """The system message: a template, or `file://` and a path relative to the config."""
    prompt: str
    """The user message: a template, or `file://` and a path relative to the config."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """On top of the model's own `params`."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the answer: asked of the provider, checked here, repaired once, and parsed."""
    rpm: PositiveInt | None = None
    """This agent's requests in any 60 s, retries included."""
    tpm: PositiveInt | None = None
    """This agent's tokens in any 60 s, prompt and answer."""
