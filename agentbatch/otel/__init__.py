"""Spans and metrics over OTLP while a run goes, sent by a process of its own: see `pipe` and `sender`."""
