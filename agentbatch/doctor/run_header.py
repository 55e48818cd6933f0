"""The run header beside the results, without which no run goes on with them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentbatch.config import Config, config_shape
from agentbatch.doctor.cutting import keep_backup
from agentbatch.doctor.finding import Checkup, Finding
from agentbatch.errors import InputError
from agentbatch.inputs.formats import InputFormat, open_inputs_as
from agentbatch.record import record
from agentbatch.results.header import RunHeader, compare_headers, new_header, read_header, write_header
from agentbatch.results.openai_batch import OutputFormat
from agentbatch.results.scan import scan_results

_MEND = (
    "put it back from a backup; or name what the results were made with: --repair --config CONFIG --inputs INPUTS"
    " writes it anew"
)


@record
class Origin:
    """What a person says that the results were made with; `inputs` a path, or `-` for a pipe."""

    config: Config
    inputs: str
    input_format: InputFormat = "auto"
    output_format: OutputFormat = "agentbatch"

    def header(self) -> RunHeader:
        """The header that such a run has.

        Raises:
            InputError: the inputs can't be read.
        """
        digest = None if self.inputs == "-" else open_inputs_as(self.input_format, self.inputs).digest
        return new_header(config_shape(self.config, self.output_format), digest)


def look_at_header(path: Path, results: Path, origin: Origin | None, *, has_results: bool) -> Checkup:
    """Whether it can be read, and fits what the results are said to be made with."""
    try:
        header = read_header(path)
    except InputError as error:
        return _bad(path, results, str(error).removeprefix(f"{path}: ").partition(",")[0], origin)
    if header is None:
        return _bad(path, results, "is not there", origin) if has_results else Checkup()
    changes = [] if origin is None else compare_headers(header, origin.header())
    if not changes:
        return Checkup()
    what = f"the results were made with something else than you named: {'; '.join(changes)}"
    means = "a run with that config and those inputs would be refused"
    return Checkup((Finding(path, None, what, means, "name the config and the inputs that they were made with"),))


def _bad(path: Path, results: Path, what: str, origin: Origin | None) -> Checkup:
    means = "nobody can tell which config and inputs the results belong to, so no run goes on with them"
    if origin is None:
        return Checkup((Finding(path, None, what, means, _MEND),))
    hindrance = _hindrance(results, origin)
    if hindrance is not None:
        return Checkup((Finding(path, None, what, means, f"it can't be written anew yet: {hindrance}"),))
    mend = f"written anew for that config and {origin.inputs}, whose ids fit; that they are the right ones, you say"
    return Checkup((Finding(path, None, what, means, mend, mendable=True),), partial(_anew, path, origin))


def _hindrance(results: Path, origin: Origin) -> str | None:
    """Why nobody can tell that the results belong to the inputs; None where every id fits."""
    if origin.inputs == "-" or not results.exists():
        return None
    inputs = open_inputs_as(origin.input_format, origin.inputs)
    try:
        finished = scan_results(results, inputs.count, heal=False)
        for entry in inputs.read():
            finished.is_done(entry.id, entry.index)
    except InputError as error:
        return str(error)
    return None


def _anew(path: Path, origin: Origin) -> str:
    kept = f"; what stood there is {keep_backup(path)}" if path.exists() else ""
    write_header(path, origin.header())
    return f"{path}: written anew{kept}"
