"""The inputs: lines and rows in, items out, one at a time."""

from agentbatch.inputs.reader import BadLine, Inputs, check_inputs, open_inputs
from agentbatch.inputs.selection import Selection

__all__ = ["BadLine", "Inputs", "Selection", "check_inputs", "open_inputs"]
