"""The results of one run: the lock, the header, what earlier runs finished, and the writer for the rest.

Entered before anything is paid, so that whatever is wrong with the output is found first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from agentbatch.errors import InputError, OutputError
from agentbatch.files.lock import OutputLock
from agentbatch.items import Status
from agentbatch.kept.begun_calls import BegunCalls, PaidTwice, open_table
from agentbatch.kept.journal import JournalFile
from agentbatch.kept.stale_tables import remove_stale_tables
from agentbatch.marks import Mark
from agentbatch.process.control import Control
from agentbatch.record import record
from agentbatch.results.files import ResultFiles, check_output
from agentbatch.results.finished import FinishedItem
from agentbatch.results.header import (
    RunHeader,
    compare_headers,
    read_header,
    told_apart,
    with_marks,
    with_times,
    with_unfinished,
    write_header,
)
from agentbatch.results.hearer import Heard, Nowhere
from agentbatch.results.order import OrderedLines, sort_results
from agentbatch.results.overwriting import SetAside
from agentbatch.results.same_errors import SameErrors
from agentbatch.results.scan import Finished, scan_results
from agentbatch.results.writer import CROWDED_BYTES, LineWriter, ResultsFile, Sink, StreamOut
from agentbatch.text.figures import counted
from agentbatch.time_book import BoundTime

_GRACE_S = 5.0
_HURRY_S = 1.0
"""How long a run that is told to stop, or to stop at once, waits for what it writes to."""

_MOST_WAITING = 2_000
_LEAST_WAITING = 64
"""So many lines may be put and not yet on disk in any run."""


@record
class BookOptions:
    """How results are kept. `files` None stands for stdout, or for nowhere where `to_stdout` is false: nothing can be
    continued then. `hear` is told the lines that are kept, some at a time, by the thread that writes them.

    `inputs` names the inputs, which are not to be overwritten; `selected` are the indexes of the items that are this
    run's business, None for all; `count` is how many items the inputs have, None where that shows only as they are
    read; `same_error` is how many failures alike in a row end the run, 0 for never.
    """

    files: ResultFiles | None
    inputs: str = "-"
    overwrite: bool = False
    retry_failed: bool = False
    ordered: bool = False
    selected: Iterable[int] | None = None
    count: int | None = None
    to_stdout: bool = True
    hear: Callable[[bytes], None] | None = None
    same_error: int = 0


class ResultBook:
    """Use as `with`, on a running event loop. Commits results, and knows which items need no run.

    Results that failed because a key was refused or an account was empty are held back until something succeeds: if
    nothing does, they were never about their items, which stay to do. So are results that failed all alike.

    Raises:
        OutputError: the output can't be written.
        LockedError: another run holds it.
        InputError: it was begun with another config or other inputs, or is damaged.
    """

    def __init__(self, options: BookOptions, header: RunHeader, control: Control) -> None:
        self.written: Counter[str] = Counter()
        self.journal: JournalFile | None = None
        self.notes: list[str] = []
        self.error: OutputError | None = None
        self._options = options
        self._header = header
        self._control = control
        self._finished: Finished | None = None
        self._unfinished_before = 0.0
        self._held: list[FinishedItem] = []
        self._same_errors = SameErrors(options.same_error)
        self._uncommitted: deque[tuple[int, Status]] = deque()
        """Index and status of the lines that are not known to be on disk."""
        self._patience: float | None = None
        self._begun_known = False
        self._most_waiting = _MOST_WAITING
        self._waits_for_room: set[asyncio.Timeout] = set()
        control.on_stop(self._wait_no_longer)
        self._committed = 0
        self._answered = False
        self.complete = False
        """Set when every item has a result: nothing needs to be kept for a continuation."""
        self.times: Sequence[BoundTime] = ()
        """What the time of this run went to, to be kept with the results."""
        self.marks: Sequence[Mark] = ()
        """Cool-downs and changed limits, to be kept, too."""
        self.unfinished_usd = 0.0
        """What attempts of this run may have cost whose items got no line; to be kept with the results, too."""
        self._order = OrderedLines() if options.ordered and options.files is None else None
        self._opened = ExitStack()
        self._lock: OutputLock | None = None
        self._aside: SetAside | None = None
        """What this run overwrites, until a new result is there."""
        self._ended = False
        self.put_back = False
        """Whether it was put in place again, as none came. Known when the book is closed."""

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._writer = self._open(self._options.files, opening)
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            self._ended = kind is None
            self._flush_order()
            failure = self._writer.close(self._patience)
            if self._patience is None:
                self.error = failure or self.error
            elif failure is not None:
                self._opened.pop_all()  # the thread may write on until the process ends, and so long the lock holds
            self._take_back_uncommitted()
            if self.journal is not None:
                self.journal.close(complete=self.complete and failure is None, timeout=self._patience)
                if self.complete and failure is None and self._options.files is not None:
                    self._options.files.discard_batches()
            if self._options.files is not None and self._options.ordered and failure is None:
                sort_results(self._options.files.results)
            if self._options.files is not None and self._patience is None and failure is None:
                self._keep_header(self._options.files)
                self._keep_times(self._options.files)

    def _keep_header(self, files: ResultFiles) -> None:
        """Without it nothing continues: one that somebody deleted meanwhile is made again, and that is said."""
        if not files.header.exists() and files.results.exists():
            write_header(files.header, self._header)
            self.notes.append(
                f"{files.header} was deleted during the run, and is made again: leave it beside the results"
            )

    def _keep_times(self, files: ResultFiles) -> None:
        """Where the time went, and what is marked in charts, is told by the report. The run does not fail for it."""
        if not self.times and not self.unfinished_usd:
            return
        with suppress(InputError, OutputError):
            begun = read_header(files.header)
            if begun is not None:
                header = with_marks(with_times(begun, self.times), self.marks)
                write_header(files.header, with_unfinished(header, self.unfinished_usd))

    async def settle(self) -> None:
        """Wait until all is on disk.

        In a run that is told to stop, no longer than is fit: neither a hung disk nor a reader of stdout that does not
        read may keep it from its end. What could not be written stays to do.
        """
        self._flush_order()
        loop = asyncio.get_running_loop()
        over = False
        try:
            async with asyncio.timeout(None) as patience:

                def hurry() -> None:
                    if not over:
                        patience.reschedule(loop.time() + (_HURRY_S if self._control.at_once else _GRACE_S))

                self._control.on_stop(hurry)
                if self._control.stopping:
                    hurry()
                await self._drained(1)
        except TimeoutError:
            self._patience = 0.0
        finally:
            over = True

    @property
    def before(self) -> dict[str, int]:
        """Items of those selected that earlier runs finished and this one leaves alone, by status."""
        if self._finished is None:
            return {}
        counts: dict[str, int] = {**self._finished.counts(self._options.selected)}
        return {s: n for s, n in counts.items() if s in ("ok", "skipped")} if self._options.retry_failed else counts

    @property
    def spent_usd(self) -> float:
        """What the lines of earlier runs cost, and what may be billed on top: it counts against a cap."""
        finished = self._finished
        if finished is None:
            return 0.0
        return finished.cost_usd + finished.possibly_billed_usd + self._unfinished_before

    @property
    def spent_in_all_usd(self) -> float:
        """That, and what earlier runs paid for items they did not finish, whose calls are answered from the journal."""
        return self.spent_usd + (0.0 if self.journal is None else self.journal.cost_usd)

    @property
    def continued(self) -> bool:
        """Whether an earlier run's results are gone on with."""
        return self._finished is not None

    @property
    def paid_twice(self) -> PaidTwice | None:
        """What was made again because an earlier run broke off; None where nobody can know."""
        begun = None if self.journal is None else self.journal.begun
        return begun.paid_twice if begun is not None and self._begun_known else None

    def leave_begun_unknown(self) -> None:
        """Calls are made on other machines: which have begun is not known here, and nothing will be claimed."""
        if self.journal is not None and self.journal.begun is not None:
            self.journal.begun.close(complete=True)
            self.journal.begun = None

    def is_done(self, item_id: str | int, index: int) -> bool:
        """Whether an item needs no run."""
        return self._finished is not None and self._finished.is_done(item_id, index, self._options.retry_failed)

    def tell(self, **facts: object) -> None:
        """Say in the lock file what this run is about, for those who watch it."""
        if self._lock is not None:
            self._lock.tell(**facts)

    def bound_waiting(self, in_flight: int) -> None:
        """Let as many lines be put and not yet on disk as items are in flight; beyond it the workers wait.

        That bounds the paid work that a crash can lose where the disk is slow.
        """
        self._most_waiting = min(_MOST_WAITING, max(_LEAST_WAITING, in_flight))

    def expect(self, index: int) -> None:
        """Say that an item begins; call in input order."""
        if self._order is not None:
            self._order.expect(index)

    def commit(self, ended: FinishedItem) -> Awaitable[None] | None:
        """Keep one result. What it returns is to be awaited: the disk can't follow."""
        error = ended.error
        if error is not None and error.type in ("auth", "quota"):
            self._held.append(ended)
            return None
        if ended.attempts:
            self._answered = True
            self.release_denied()
        for each in self._same_errors.add(ended):
            self._put(each)
        if self._same_errors.tripped is not None:
            self._control.stop(self._same_errors.tripped)
        writer = self._writer
        if writer.backlog > self._most_waiting or writer.backlog_bytes > CROWDED_BYTES:
            return self._room(max(1, writer.backlog // 2))
        return None

    def release_alike(self) -> None:
        """Commit failures that were alike, unless they were so many that they ended the run."""
        for ended in self._same_errors.release():
            self._put(ended)

    def denial(self) -> str | None:
        """Why every single call was refused for its key or its account; None where any was answered."""
        if self._answered or not self._held:
            return None
        error = self._held[0].error
        return error and f"{error.type}: {error.message}"

    def release_denied(self) -> None:
        """Commit what failed for its key or account: it was about those items after all."""
        held, self._held = self._held, []
        for ended in held:
            self._put(ended)

    async def _drained(self, limit: int) -> None:
        """Wait until fewer than `limit` lines wait for the disk; a failure of it is told to the run elsewhere."""
        with suppress(OutputError):
            await self._writer.drained(limit)

    async def _room(self, limit: int) -> None:
        """The same before the next item begins. Where a run is told to stop, none does, and nobody waits."""
        if self._control.stopping:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as patience:
                self._waits_for_room.add(patience)
                try:
                    await self._drained(limit)
                finally:
                    self._waits_for_room.discard(patience)

    def _wait_no_longer(self) -> None:
        for patience in self._waits_for_room:
            patience.reschedule(0.0)

    def _flush_order(self) -> None:
        if self._order is not None:
            for line in self._order.flush():
                self._writer.put(line)

    def _put(self, ended: FinishedItem) -> None:
        self.written[ended.status] += 1
        self._uncommitted.append((ended.index, ended.status))
        for ready in [ended.line] if self._order is None else self._order.push(ended.index, ended.line):
            self._writer.put(ready)

    def _on_commit(self, lines: int) -> None:
        """So many lines are on disk: their items' paid calls need not be kept any longer."""
        newly = [self._uncommitted.popleft()[0] for _ in range(lines - self._committed)]
        self._committed = lines
        if lines and self._aside is not None:
            self._aside, replaced = None, self._aside
            with suppress(OutputError):  # what can't be deleted now, the next run deletes
                replaced.settle(replaced=True)
        if self.journal is not None:
            self.journal.forget(newly)

    def _take_back_uncommitted(self) -> None:
        """What did not get to the disk is not written, and stays to do."""
        self._on_commit(self._writer.committed)
        for _, status in self._uncommitted:
            self.written[status] -= 1
        if self._uncommitted and self.error is None:
            self.notes.append(f"{counted(len(self._uncommitted), 'result')} could not be written in time: still to do")

    def fail(self, error: OutputError) -> None:
        """What the run writes can't be kept: it ends at once."""
        self.error = self.error or error
        self._control.stop(str(error), at_once=True)

    def _open(self, files: ResultFiles | None, opening: ExitStack) -> LineWriter:
        if files is None:
            sink = StreamOut() if self._options.to_stdout else Nowhere()
            return LineWriter(self._heard(sink), self.fail, self._on_commit)
        note = check_output(files, self._options.inputs)
        if note is not None:
            self.notes.append(note)
        self._lock = opening.enter_context(OutputLock(files.results))
        if self._options.overwrite:
            self._aside = SetAside(files)
            opening.callback(self._settle_aside)
            self._aside.begin()
        else:
            SetAside(files).settle()
        self._continue_or_begin(files)
        self.journal = JournalFile(files.journal, self.fail, self._begun_calls(files))
        if self._finished is not None:
            finished = self._finished
            self.journal.leave_out(lambda index: finished.status_of(index) is not None)
        return LineWriter(self._heard(ResultsFile(files.results)), self.fail, self._on_commit)

    def _settle_aside(self) -> None:
        """A run that came to its end has replaced what was there, even by nothing."""
        if self._aside is None:
            return
        self.put_back = self._aside.settle(replaced=self._ended and not self._control.stopping)
        if self.put_back:
            self.notes.append(f"nothing new was kept, so nothing is overwritten: {self._aside.results} is as before")

    def _heard(self, sink: Sink) -> Sink:
        return sink if self._options.hear is None else Heard(sink, self._options.hear)

    def _begun_calls(self, files: ResultFiles) -> BegunCalls | None:
        """What an earlier run had under way, of the items that have no line; None where it can't be kept here."""
        finished = self._finished
        header = read_header(files.header)
        if header is None:
            return None
        try:
            table, known = open_table(files.results, told_apart(header), fresh=finished is None)
        except OSError:
            return None
        self._begun_known = known or (finished is not None and _all_done(finished, self._options.count))
        remove_stale_tables(time.time())
        if finished is not None:
            table.forget([index for index in table.items if finished.status_of(index) is not None])
        return table

    def _continue_or_begin(self, files: ResultFiles) -> None:
        if not continues(files, self._header):
            write_header(files.header, self._header)
            return
        begun = read_header(files.header)
        if begun is not None:
            self._unfinished_before = begun.unfinished_usd
            same = begun.thresholds == self._header.thresholds
            self._header = replace(begun, thresholds=self._header.thresholds)
            if not same:
                write_header(files.header, self._header)
        self._finished = scan_results(files.results)
        if self._finished.healed_bytes:
            self.notes.append(
                f"cut {counted(self._finished.healed_bytes, 'byte')} that a crash left at the end of {files.results}"
            )


def _all_done(finished: Finished, count: int | None) -> bool:
    """Whether every item of the inputs had its line: then nothing was under way."""
    return count is not None and sum(finished.counts().values()) >= count


def continues(files: ResultFiles, header: RunHeader) -> bool:
    """Whether a run with this header goes on with results that stand there already. Nothing is changed.

    Raises:
        InputError: they belong to another run.
    """
    begun = read_header(files.header)
    if begun is None:
        if files.results.exists() and files.results.stat().st_size:
            raise InputError(
                f"{files.results} exists, and there is no {files.header.name} to say what it belongs to: name another"
                " --output, or --overwrite"
            )
        return False
    changes = compare_headers(begun, header)
    if changes:
        raise InputError(
            f"{files.results} was begun with something else: {'; '.join(changes)}. Undo the change, name another"
            " --output, or --overwrite to begin again"
        )
    return True
