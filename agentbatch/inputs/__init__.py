"""The inputs: lines and rows in, items out, one at a time."""

from agentbatch.inputs.reader import (
    BadLine,
    Inputs,
    check_inputs,
    open_inputs,
    select,
    selected_count,
    selected_indexes,
)

__all__ = ["BadLine", "Inputs", "check_inputs", "open_inputs", "select", "selected_count", "selected_indexes"]
