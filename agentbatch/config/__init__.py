"""The config: from a YAML text to a checked `Config`, or every problem at once with its place and mend."""

from agentbatch.config.loading import Config, Limits, config_shape, load

__all__ = ["Config", "Limits", "config_shape", "load"]
