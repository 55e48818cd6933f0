"""The formats of inputs, as `--input-format` names them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agentbatch.inputs.openai_batch import as_requests
from agentbatch.inputs.reader import Inputs, open_inputs

InputFormat = Literal["auto", "jsonl", "csv", "openai-batch"]
"""`auto`: CSV where the file's name ends so, else JSONL. `openai-batch`: JSONL of `{custom_id, method, url, body}`."""


def open_inputs_as(input_format: InputFormat, path: str | Path, *, tee: Path | None = None) -> Inputs:
    """The inputs at `path`, a file or `-` for stdin; `tee` as `open_inputs` has it.

    Raises:
        InputError: they can't be read.
    """
    csv = None if input_format == "auto" else input_format == "csv"
    inputs = open_inputs(path, tee=tee, csv=csv)
    return as_requests(inputs) if input_format == "openai-batch" else inputs
