"""The event stream: what happens, in the moment it happens, for whoever follows a run."""

from agentbatch.events.event_file import EventFile, refuse_same_file

__all__ = ["EventFile", "refuse_same_file"]
