"""The table of model providers: the word under `provider`, and where its config class and its model class are.

To add a provider: one file with `XConfig(ModelConfig)` and the `Model` made of it, and one line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentbatch.models.base import ModelConfig

PROVIDERS: dict[str, tuple[str, str, str]] = {
    "openai": ("agentbatch.models.openai", "OpenAIConfig", "OpenAIModel"),
    "openai-responses": ("agentbatch.models.openai_responses", "OpenAIResponsesConfig", "OpenAIResponsesModel"),
    "anthropic": ("agentbatch.models.anthropic", "AnthropicConfig", "AnthropicModel"),
    "gemini": ("agentbatch.models.gemini", "GeminiConfig", "GeminiModel"),
    "mock": ("agentbatch.models.mock", "MockConfig", "MockModel"),
}
"""Module, config class, model class; imported only when a config names the provider."""


def config_class(provider: str) -> type[ModelConfig]:
    """The class of a provider's settings.

    Raises:
        KeyError: there is no such provider.
    """
    module, name, _ = PROVIDERS[provider]
    return getattr(import_module(module), name)


def model_class(provider: str) -> Any:
    """What makes a provider's `Model`: called with its config, and the HTTP transport where it needs one.

    Raises:
        KeyError: there is no such provider.
    """
    module, _, name = PROVIDERS[provider]
    return getattr(import_module(module), name)


__all__ = ["PROVIDERS", "config_class", "model_class"]
