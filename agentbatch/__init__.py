"""agentbatch: a command-line batch runner for LLM agents."""

__version__ = "0.1.0"
