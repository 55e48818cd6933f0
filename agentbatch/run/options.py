"""What a run is asked to do: one list, which the command line and the Python API both fill in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbatch.inputs.selection import Selection
from agentbatch.logs.run_log import LogChoice
from agentbatch.record import record

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary
    from agentbatch.config import Config
    from agentbatch.config.cache_choice import CacheUse
    from agentbatch.inputs.formats import InputFormat
    from agentbatch.progress import Progress, Tally
    from agentbatch.progress.view import Pressure
    from agentbatch.results.files import ResultFiles
    from agentbatch.results.openai_batch import OutputFormat

Confirm = Callable[["Canary"], Awaitable[bool]]
"""Decides whether a run goes on after its canary."""


@record
class Display:
    """What a progress display is given to look at.

    Attributes:
        total: items this run is to do; None where that is unknown.
        before: items that an earlier run has done.
    """

    tally: Tally
    total: int | None
    before: int
    pressure: Callable[[], Pressure]


@record
class Terminal:
    """What a command line wants on top: signals that drain the run, logging, a display, stdout for results.

    Attributes:
        log: what is logged, and where.
        show: makes the progress display.
        continue_command: what a person types to run what is left.
        past_canary_command: what they type for it after a canary that was against it.
    """

    log: LogChoice = LogChoice()
    show: Callable[[Display], Progress] | None = None
    continue_command: str | None = None
    past_canary_command: str | None = None


@record
class RunOptions:
    """One run, as its command line or its program says it. What shapes the answers stands in the config.

    Attributes:
        inputs: a path, `-` for stdin, or the records themselves.
        files: where results go; None for stdout (without a `terminal`: nowhere).
        traces: the trace file; None for none.
        otel: whether spans also go to an OpenTelemetry collector; None: if the config or the environment names one.
        events: where the event stream goes: a path, or `-` for stdout; None for nowhere.
        record: the recording that answers are added to. replay: the one they come from, and nobody is asked.
        overwrite: begin again, whatever an earlier run left in `files`.
        retry_failed: run items again that an earlier run ended with an error.
        confirm: decides whether a run with a canary goes on; None: it does if nothing is against it.
        terminal: None inside somebody else's program: signals, logging and stdout are not ours there.
    """

    inputs: str | Iterable[Any]
    files: ResultFiles | None
    traces: Path | None = None
    otel: bool | None = None
    events: str | None = None
    record: Path | None = None
    replay: Path | None = None
    input_format: InputFormat = "auto"
    output_format: OutputFormat = "agentbatch"
    cache: CacheUse = "as configured"
    overwrite: bool = False
    retry_failed: bool = False
    selection: Selection = Selection()
    fail_fast: bool = False
    ordered: bool = False
    confirm: Confirm | None = None
    terminal: Terminal | None = None

    @property
    def path(self) -> str:
        """Where the inputs are: `-` where they come by a pipe or are in memory."""
        return self.inputs if isinstance(self.inputs, str) else "-"

    @property
    def log(self) -> LogChoice:
        """What is logged; of somebody else's program the default."""
        return LogChoice() if self.terminal is None else self.terminal.log

    def files_in_use(self, config: Config) -> list[tuple[str, Path | None]]:
        """The files that the run reads and writes, each with the option to name another by; `""` where it must stay."""
        own = () if self.files is None else self.files.own
        return [
            ("", None if config.origin is None else Path(config.origin.text.name)),
            *(("--output", path) for path in own),
            ("", Path(self.path)),
            ("--traces", self.traces),
            ("", None if self.files is None else self.files.traces),
            ("--events", None if self.events is None else Path(self.events)),
            ("--record", self.record),
            ("--log-file", self.log.file),
        ]
