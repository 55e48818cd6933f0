"""The event stream: what happens, in the moment it happens, for whoever follows a run."""

from agentbatch.events.event_file import EventFile

__all__ = ["EventFile"]
