"""The table of model providers: the word under `provider`, and where its config class and its model class are.

To add a provider: one file with `XConfig(ModelConfig)` and the `Model` made of it, and one line here.
"""

from __future__ import annotations

PROVIDERS: dict[str, tuple[str, str, str]] = {
    "openai": ("agentbatch.models.openai", "OpenAIConfig", "OpenAIModel"),
    "anthropic": ("agentbatch.models.anthropic", "AnthropicConfig", "AnthropicModel"),
    "mock": ("agentbatch.models.mock", "MockConfig", "MockModel"),
}
"""Module, config class, model class; imported only when a config names the provider."""

__all__ = ["PROVIDERS"]
