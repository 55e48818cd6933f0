"""Where a run's files stand: the naming rule in one place, and what must hold before anything is paid."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from agentbatch.errors import OutputError, UsageError
from agentbatch.files.filesystems import filesystem_of, is_network
from agentbatch.record import record

_PROBE_BYTES = 4096
_COMPRESSED = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip"})
_TABLES = frozenset({".csv", ".tsv", ".xlsx", ".parquet"})


@record
class ResultFiles:
    """The files of one output: for `x.results.jsonl` the others are `x.results.traces.jsonl` and so on."""

    results: Path

    @property
    def traces(self) -> Path:
        return self._beside("traces.jsonl")

    @property
    def traces_index(self) -> Path:
        """What `agentbatch trace` finds traces by."""
        return self._beside("traces.index")

    @property
    def header(self) -> Path:
        return self._beside("run.json")

    @property
    def spool(self) -> Path:
        """The copy of what came by stdin."""
        return self._beside("inputs.jsonl")

    @property
    def journal(self) -> Path:
        """The paid calls of items that have no result yet."""
        return self._beside("journal.sqlite")

    @property
    def batches(self) -> Path:
        """Which requests are in which batch of a provider."""
        return self._beside("batches.sqlite")

    @property
    def artifacts(self) -> Path:
        """The folder of what command agents leave behind, item by item."""
        return self._beside("artifacts")

    @property
    def own(self) -> tuple[Path, ...]:
        """All that a run itself writes and goes on with, but for the traces, which may stand elsewhere."""
        return (self.results, self.header, self.spool, self.journal, self.batches)

    @property
    def report(self) -> Path:
        """The page that `agentbatch report` makes."""
        return self._beside("report.html")

    @property
    def aside(self) -> Path:
        """The folder for what `--overwrite` replaces, until a new result is there."""
        return self._beside("overwritten")

    @property
    def all_of_run(self) -> tuple[Path, ...]:
        """All that a new beginning replaces. The results go first: a header alone continues nothing."""
        sqlite = [path for each in (self.journal, self.batches) for path in _sqlite_files(each)]
        return (self.results, self.spool, self.traces, self.traces_index, self.header, *sqlite, self.artifacts)

    def discard(self) -> None:
        """Delete what an earlier run left, for a new beginning.

        Raises:
            OutputError: a file can't be deleted.
        """
        for path in self.all_of_run[:-1]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{path}: cannot be deleted: {error.strerror}") from error
        shutil.rmtree(self.artifacts, ignore_errors=True)

    def discard_batches(self) -> None:
        """Every result is here: what provider batches answered need not be kept."""
        for path in _sqlite_files(self.batches):
            path.unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self.results.with_name(f"{self.results.stem}.{suffix}")


def _sqlite_files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def files_for(inputs: str, output: str | None = None) -> ResultFiles:
    """The files of a run over `inputs` (a path, or `-`): those of `output`, or `<inputs stem>.results.jsonl` here.

    Raises:
        OutputError: `output` can't be the name of a file.
    """
    if output is not None:
        path = Path(output)
        if not path.name:  # `.` and `/` have none that others could be made of
            raise OutputError(f"{path}: is a folder; name a file in it")
        return ResultFiles(path)
    return ResultFiles(Path(f"{inputs_stem(inputs)}.results.jsonl"))


def inputs_stem(inputs: str) -> str:
    """`x` for `some/x.jsonl` and `x.jsonl.gz`; `stdin` for `-` and for pipes, whose names change from run to run."""
    if inputs == "-" or inputs.startswith(("/dev/", "/proc/")):
        return "stdin"
    path = Path(inputs)
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return path.stem


def check_output(files: ResultFiles, inputs: str = "-") -> str | None:
    """See that results can be kept, before anything is paid. Nothing is left behind.

    Returns:
        A note for the user where the folder is on a network file system; else None.

    Raises:
        OutputError: they can't.
        UsageError: the results would replace the inputs, or are named as what they are not.
    """
    results = files.results
    _refuse_other_forms(results)
    try:
        _refuse_inputs(files, inputs)
        target = results.resolve(strict=False)
        if not target.parent.exists():
            raise OutputError(f"{results}: its folder does not exist; make it: mkdir -p {target.parent}")
        if target.exists():
            _check_file(results)
        _try_writing(target.parent)
    except (OSError, RuntimeError) as error:  # a loop of symbolic links is a RuntimeError to pathlib
        raise OutputError(f"{results}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return _network_note(target.parent)


def refuse_shared_files(files: Iterable[tuple[str, Path | None]]) -> None:
    """See that a run has a file of its own for each thing it writes, before anything is touched.

    Args:
        files: what is read or written, by the option that chose it; without one (`""`) it is only taken.

    Raises:
        UsageError: a file is chosen that is taken by one before it. Streams and devices may be shared.
    """
    taken: set[str] = set()
    for option, path in files:
        if path is None or str(path) == "-" or (path.exists() and not path.is_file()):
            continue
        own = os.path.realpath(path)  # also for a loop of links, which is refused where it is written
        if option and own in taken:
            raise UsageError(f"{path}: is another file of this run; name another {option} FILE")
        taken.add(own)


def _refuse_other_forms(results: Path) -> None:
    """Results are lines that a run goes on with: plain JSON, whatever the file is called."""
    suffix = results.suffix.lower()
    if suffix in _COMPRESSED:
        plain = results.with_suffix("")
        mend = f"name {plain}, and compress it when the run is over"
    elif suffix in _TABLES:
        plain = results.with_suffix(".jsonl")
        mend = f"name {plain}, and make a table of it: agentbatch results export {plain} -o {results}"
    else:
        return
    raise UsageError(f"{results}: results are written as plain JSON lines, not as {suffix}; {mend}")


def _refuse_inputs(files: ResultFiles, inputs: str) -> None:
    if inputs == "-" or not Path(inputs).exists():
        return
    for path in (files.results, files.traces, files.header, files.spool):
        if path.exists() and path.samefile(inputs):
            raise UsageError(f"{path}: is the inputs file, and would be overwritten; name another --output")


def _check_file(results: Path) -> None:
    mode = results.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OutputError(f"{results}: is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{results}: is no regular file, so it keeps no results; `-o -` writes them to stdout")
    os.close(os.open(results, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))


def _try_writing(folder: Path) -> None:
    """A file without a name finds a read-only folder, a full disk and a used-up quota alike."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(_PROBE_BYTES))
        probe.flush()
        os.fsync(probe.fileno())


def _network_note(folder: Path) -> str | None:
    if not is_network(folder):
        return None
    return (
        f"{folder} is on {filesystem_of(folder)}: a power cut there may lose committed lines, and runs on other "
        "hosts may not see the lock; a local folder is safer"
    )
