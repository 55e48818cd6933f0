"""All the files of one output looked at, and mended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agentbatch.doctor.artifact_folder import ArtifactCheck
from agentbatch.doctor.call_journal import look_at_journal
from agentbatch.doctor.finding import Checkup, Finding
from agentbatch.doctor.leftovers import look_at_leftovers
from agentbatch.doctor.results_file import ResultsReading
from agentbatch.doctor.run_header import Origin, look_at_header
from agentbatch.doctor.stdin_copy import look_at_stdin_copy
from agentbatch.doctor.trace_files import look_at_index, look_at_traces
from agentbatch.errors import InputError, OutputError
from agentbatch.files.lock import Holder, OutputLock, read_holder
from agentbatch.record import record
from agentbatch.results.files import ResultFiles


@record
class Examination:
    """The state of an output.

    Attributes:
        holder: the run that writes it now; None where none does.
        lines: result lines; `statuses`: items by the status in their last line.
        findings: what is there to be said, what is wrong and what is only worth knowing.
        mended: what was done about what an examination before this one found.
    """

    results: Path
    holder: Holder | None
    lines: int
    statuses: Mapping[str, int]
    findings: tuple[Finding, ...]
    mended: tuple[str, ...] = ()

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        return sum(finding.wrong for finding in self.findings)

    @property
    def mendable(self) -> int:
        """How many things `repair` would mend."""
        return sum(finding.mendable for finding in self.findings)


def examine(results: Path, traces: Path | None = None, origin: Origin | None = None) -> Examination:
    """Look, and change nothing. Of an output that a run writes now, what is half written is no fault.

    Args:
        traces: the trace file, where it is not beside the results.
        origin: what a person says that the results were made with.

    Raises:
        InputError: there is no such output, or it can't be read.
    """
    return _Look(results, traces, origin, read_holder(results)).examination()


def repair(results: Path, traces: Path | None = None, origin: Origin | None = None) -> Examination:
    """Mend what can be mended, and look again.

    Raises:
        InputError: there is no such output, or it can't be read. LockedError: a run writes it now.
        OutputError: it can't be mended.
    """
    with OutputLock(_existing(results)):
        look = _Look(results, traces, origin, None, locked=True)
        look.examination()
        done = tuple(_mended(mend) for mend in look.mends)
        after = _Look(results, traces, origin, None, locked=True).examination()
    return Examination(after.results, None, after.lines, after.statuses, after.findings, done)


def _mended(mend: Callable[[], str]) -> str:
    try:
        return mend()
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be mended: {error.strerror or error}") from error


def _existing(results: Path) -> Path:
    if results.is_dir():
        raise InputError(f"{results}: is a folder; name a results file")
    if not results.exists() and not ResultFiles(results).header.exists():
        raise InputError(f"{results}: there is no such file, and no run header beside it; name the results of a run")
    return results


class _Look:
    """One look at every file; `mends` are what would mend what it found. `locked`: the lock that is there is ours."""

    def __init__(
        self,
        results: Path,
        traces: Path | None,
        origin: Origin | None,
        holder: Holder | None,
        *,
        locked: bool = False,
    ) -> None:
        self._files = ResultFiles(_existing(results))
        self._traces = traces or self._files.traces
        self._origin = origin
        self._holder = holder
        self._lock = None if locked else OutputLock(results).path
        self.mends: list[Callable[[], str]] = []

    def examination(self) -> Examination:
        files = self._files
        artifacts = ArtifactCheck(files.artifacts)
        reading = ResultsReading(files.results, running=self._holder is not None, on_result=artifacts.look)
        try:
            found = [reading.read() if files.results.exists() else Checkup()]
            found.append(
                look_at_header(files.header, files.results, self._origin, has_results=_has_content(files.results))
            )
            if self._holder is None:
                found += [look_at_journal(files.journal), look_at_leftovers(files, self._lock)]
            found.append(look_at_stdin_copy(files.spool, highest=reading.highest))
            found.append(look_at_traces(self._traces, running=self._holder is not None))
            found += [look_at_index(files.traces_index, files.traces), artifacts.checkup()]
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
        self.mends = [checkup.mend for checkup in found if checkup.mend is not None]
        findings = tuple(finding for checkup in found for finding in checkup.findings)
        return Examination(files.results, self._holder, reading.lines, reading.statuses, findings)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
