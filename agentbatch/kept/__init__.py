"""Paid work that is kept: the call journal of a run, the cache of all runs."""
