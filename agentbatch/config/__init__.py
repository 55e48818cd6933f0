"""The config: from a YAML text to a checked `Config`, or every problem at once with its place and mend."""

from agentbatch.config.config import Config, Limits
from agentbatch.config.loading import load
from agentbatch.config.shape import config_shape

__all__ = ["Config", "Limits", "config_shape", "load"]
