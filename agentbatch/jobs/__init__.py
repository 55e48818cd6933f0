"""Runs as jobs of a Ray cluster, begun and looked after from a machine that has no Ray itself."""

from typing import Final

JOB_RUN: Final = "AGENTBATCH_JOB_RUN"
"""Environment variable that a job on a cluster sets: the name of the run it makes."""
