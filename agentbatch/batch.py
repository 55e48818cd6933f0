"""One run, from the first look at its files to its summary."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agentbatch.batches.deadline import keep_deadline
from agentbatch.canary.source import CanaryItems
from agentbatch.checks.counts import CheckCount, CheckTally
from agentbatch.config import Config, config_shape
from agentbatch.config.cache_choice import open_run_cache
from agentbatch.ctl.fixed_limits import FixedLimits
from agentbatch.ctl.live_limits import LiveLimits
from agentbatch.ctl.live_run import LiveRun, RunLimits, Told
from agentbatch.ctl.server import ControlServer
from agentbatch.engines.base import Engine
from agentbatch.engines.local import LocalEngine
from agentbatch.errors import ConfigError, ExitCode, InputError, OutputError
from agentbatch.inputs import BadLine, Inputs
from agentbatch.inputs.formats import open_inputs_as
from agentbatch.inputs.given import given_inputs
from agentbatch.inputs.item_source import FileItems, StreamItems
from agentbatch.inputs.openai_batch import as_requests
from agentbatch.items import Item, ItemResult
from agentbatch.kept.cache import ResponseCache
from agentbatch.kept.stores import Stores
from agentbatch.kept.tape import Recorder, Replayer
from agentbatch.limits import Budget
from agentbatch.logs import run_log
from agentbatch.marks import MarkBook
from agentbatch.process.control import Control
from agentbatch.process.signals import SignalWatch
from agentbatch.progress import Progress, Silent
from agentbatch.progress.log import SpokenLog
from agentbatch.results import bad_line_result
from agentbatch.results.artifacts import ArtifactFolder
from agentbatch.results.book import BookOptions, ResultBook
from agentbatch.results.files import refuse_shared_files
from agentbatch.results.finished import FinishedItem, Finishing
from agentbatch.results.header import new_header
from agentbatch.results.hearer import Hearer
from agentbatch.results.lines import CountedLines
from agentbatch.run.items import RunItems
from agentbatch.run.options import Confirm, Display, RunOptions
from agentbatch.run.outlets import Outlets
from agentbatch.stop_rules import FailureAllowance, FailureCount
from agentbatch.summary import Audit, Summary, Verdict, summarize
from agentbatch.summary.text import verdict_line
from agentbatch.text.figures import counted
from agentbatch.text.redact import Redactor
from agentbatch.time_book import TimeBook, shared_out
from agentbatch.trace import Tracer

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary
    from agentbatch.run.canary import RunCanary

_LOGGER = logging.getLogger(__name__)

_LAST_WORDS_S = 0.75
"""What is in flight when the run's time is up may still end within this."""


async def run_to_end(
    config: Config, options: RunOptions, control: Control | None = None, hearer: Hearer | None = None
) -> Summary:
    """Run every item that is not finished yet, and say how it went.

    Args:
        control: the switch that stops it.
        hearer: is told each result line once it is kept.

    Raises:
        InputError: the inputs or the results of an earlier run can't be used.
        OutputError: the results can't be kept. LockedError: another run holds them.
    """
    redactor = Redactor(config.secrets)
    control = control or Control()
    refuse_shared_files(options.files_in_use(config))
    if options.terminal is None:
        return await _run(config, options, redactor, control, hearer)
    with run_log(options.terminal.log, redactor.data) as log:
        summary = await _run(config, options, redactor, control, hearer)
        _LOGGER.info("the run has ended: %s", verdict_line(summary))
    missing = None if log is None else log.note
    return summary if missing is None else replace(summary, notes=(*summary.notes, missing))


async def _run(
    config: Config, options: RunOptions, redactor: Redactor, control: Control, hearer: Hearer | None
) -> Summary:
    if config.engine.kind != "local":
        _refuse_afar(config, options)
    tee = options.files.spool if options.files is not None else None
    given = options.inputs
    if isinstance(given, str):
        inputs = open_inputs_as(options.input_format, given, tee=tee)
    else:
        inputs = given_inputs(given, tee=tee)
        inputs = as_requests(inputs) if options.input_format == "openai-batch" else inputs
    if config.limits.canary is not None:
        _refuse_canary(options, inputs)
    async with AsyncExitStack() as opened:
        signals = SignalWatch(control)
        if options.terminal is not None:
            await opened.enter_async_context(signals)
        book = ResultBook(
            _book_options(config, options, inputs.count, hearer),
            new_header(config_shape(config, options.output_format), inputs.digest, _thresholds(config)),
            control,
        )
        opened.enter_context(book)
        run = _Run(config, options, control, inputs, book, redactor, hearer, signals.stop)
        _LOGGER.info(
            "the run begins: %s, %s items, done before: %d", inputs.name, inputs.count, sum(book.before.values())
        )
        with run.followed():
            await run.go(signals)
    return run.summary(signals.exit_code)


def _thresholds(config: Config) -> dict[str, dict[str, float]]:
    """What its checks must come to, for the header of the results: the report tells it again."""
    return {name: asked.model_dump(exclude_none=True) for name, asked in config.thresholds.items()}


def _book_options(config: Config, options: RunOptions, count: int | None, hearer: Hearer | None) -> BookOptions:
    return BookOptions(
        files=options.files,
        selected=options.selection.indexes(count),
        inputs=options.path,
        to_stdout=options.terminal is not None,
        hear=None if hearer is None else hearer.hear,
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
        ordered=options.ordered,
        count=count,
        same_error=config.limits.breaker.same_error,
    )


class _Run:
    """The state of one run between its files and its summary."""

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        control: Control,
        inputs: Inputs,
        book: ResultBook,
        redactor: Redactor,
        hearer: Hearer | None,
        stop: Callable[[str], None],
    ) -> None:
        self._stop = stop
        self._config = config
        self._options = options
        self._control = control
        self._inputs = inputs
        self._book = book
        self._hearer = hearer
        self._started = datetime.now(UTC)
        self._redactor = redactor
        self._items = RunItems(config, options, inputs, book)
        self._outlets = Outlets(config, options, redactor)
        self._tally = self._outlets.tally
        self._tape = _open_tape(options, redactor, book)
        self._tracer = Tracer(self._outlets.observers)
        self._finished = Finishing(frozenset(config.output.include), redactor, options.output_format)
        self._truncated = 0
        self._of_batches: list[str] = []
        has_checks = bool(config.checks) or any(agent.checks for agent in config.agents.values())
        self._checks = CheckTally(config.checks, config.thresholds) if has_checks else None
        self._canary = self._open_canary()
        self._display: Progress = Silent()
        self._allowance = FailureAllowance.parse(config.limits.max_failures)
        self._failures = FailureCount(
            self._allowance,
            fail_fast=options.fail_fast,
            total=self._items.total,
            before=sum(n for status, n in book.before.items() if status not in ("ok", "skipped")),
        )

    def _open_canary(self) -> RunCanary | None:
        if self._config.limits.canary is None:
            return None
        from agentbatch.canary.trial import Trial  # late: only a run with a canary needs the forecast
        from agentbatch.run.canary import RunCanary

        trial = Trial(self._config, self._config.limits.canary, self._options.selection.seed)
        return RunCanary(trial, self._items, self._book, self._tally, self._control)

    async def go(self, signals: SignalWatch) -> None:
        """Run the items; afterwards everything is committed or known to be still to do."""
        far = self._config.engine.kind != "local"
        cache = None if far else open_run_cache(self._config, self._options.cache)
        engine = self._far_engine() if far else self._local_engine(cache)
        self._tell_book()
        try:
            with self._time_kept(), self._on_screen(engine), self._accounted(engine) as begin_accounts:
                async with engine, self._served(engine):
                    signals.renew()
                    source = await self._source(engine)
                    self._control.on_stop(source.close)
                    begin_accounts()
                    with self._deadline_kept(engine):
                        await engine.run(source.take, self._deliver)
                self._settle_held()
                await self._book.settle()
                self._book.complete = self._is_complete
        finally:
            if cache is not None:
                cache.close()
            if self._tape is not None:
                self._tape.close()
            await self._outlets.close(hurried=self._control.at_once)

    def _tell_book(self) -> None:
        """What `agentbatch watch` reads of a run."""
        items = self._items
        self._book.tell(total=items.total, before=items.before, began_ns=time.time_ns(), inputs=self._inputs.name)

    @property
    def _is_complete(self) -> bool:
        return self._options.selection.whole and self._items.all_read and not self._control.stopping

    @contextmanager
    def _time_kept(self) -> Generator[None]:
        """Stop the run when its timeout is up, to the second: what is about to end then may, and the rest is cut."""
        seconds = self._config.limits.timeout
        if seconds is None:
            yield
            return
        reason = f"the run's timeout of {seconds:g} s"
        later = asyncio.get_running_loop().call_later
        timers = (
            later(seconds, self._control.stop, reason),
            later(seconds + _LAST_WORDS_S, partial(self._control.stop, reason, at_once=True)),
        )
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    @contextmanager
    def _on_screen(self, engine: Engine) -> Generator[None]:
        """Show the progress, and what is logged for people above it."""
        self._display = self._show(engine)
        log = SpokenLog(lambda text: self._display.say(text), self._redactor.text)
        log.setLevel(self._options.log.person_level)
        if self._options.terminal is not None:
            logging.getLogger().addHandler(log)
        self._display.start()
        for note in (*self._items.notes(), *engine.notes):
            self._display.say(note)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(log)
            self._display.stop()

    @contextmanager
    def _accounted(self, engine: Engine) -> Generator[Callable[[], None]]:
        """Enter in the book where time and money went, from when what is given is called."""
        times, marks = TimeBook(engine.waits), self._mark_book(engine)

        def begin() -> None:
            times.start()
            if marks is not None:
                marks.start()

        try:
            yield begin
        finally:
            if isinstance(engine, LocalEngine):
                self._of_batches = list(engine.workshop.batches.notes())
                if engine.workshop.batches.failure is not None:
                    self._book.fail(engine.workshop.batches.failure)
            times.stop()
            if marks is not None:
                marks.stop()
                self._book.marks = marks.marks
            self._tally.end()
            self._book.unfinished_usd = engine.unfinished_usd
            self._book.times = shared_out(times.seconds, self._tally.elapsed_s)

    @contextmanager
    def _deadline_kept(self, engine: Engine) -> Generator[None]:
        """Give up on provider batches when they would come too late."""
        seconds = self._config.limits.deadline
        if seconds is None or not isinstance(engine, LocalEngine):
            yield
            return
        keeping = asyncio.create_task(keep_deadline(engine.workshop.batches, seconds, lambda: self._items.left))
        try:
            yield
        finally:
            keeping.cancel()

    async def _source(self, engine: Engine) -> FileItems | StreamItems | CanaryItems:
        """Where the items come from."""
        if self._inputs.streamed:
            return StreamItems(self._to_do())
        if self._canary is None:
            return FileItems(self._to_do())
        asked = self._options.confirm
        confirm = None if asked is None else partial(self._confirmed, asked, engine)
        items = await self._canary.source(self._options.files, self._to_do, confirm)
        if isinstance(engine, LocalEngine):
            engine.workshop.batches.waiting.none_comes = items.is_all_out
        return items

    async def _confirmed(self, confirm: Confirm, engine: Engine, found: Canary) -> bool:
        """What a person, or a program, says to a canary. The display makes room."""
        self._display.stop()
        try:
            return await confirm(found)
        finally:
            self._display = self._show(engine)
            self._display.start()

    def _served(self, engine: Engine) -> AbstractAsyncContextManager[object]:
        """What answers `agentbatch ctl` while the run goes."""
        files = self._options.files
        return ControlServer(None if files is None else files.results, self._live(engine).answer)

    def _live(self, engine: Engine) -> LiveRun:
        """What `agentbatch ctl` may ask of this run."""
        told = Told(self._tally, self._items.total, self._items.before, engine.pressure, self._redactor.text)
        return LiveRun(told, self._control, self._limits_of(engine), lambda: self._stop("`agentbatch ctl stop`"))

    def _limits_of(self, engine: Engine) -> RunLimits:
        if isinstance(engine, LocalEngine):
            return LiveLimits(engine.workshop, lambda: engine.window, engine.resize)
        return FixedLimits(self._config, lambda: self._book.spent_usd + self._tally.counts().cost_usd)

    def _mark_book(self, engine: Engine) -> MarkBook | None:
        """What the report marks in its charts; None where that changes on other machines, and is not seen here."""
        if not isinstance(engine, LocalEngine):
            return None
        return MarkBook(engine.rests, self._limits_of(engine).values, engine.found_limits)

    def _local_engine(self, cache: ResponseCache | None) -> Engine:
        budget = Budget(self._config.limits.max_cost, spent=self._book.spent_in_all_usd)
        stores = Stores(self._book.journal, cache, tape=self._tape)
        if (files := self._options.files) is not None:
            stores = replace(stores, artifacts=ArtifactFolder(files.artifacts), batches=files.batches)
        engine = LocalEngine(self._config, tracer=self._tracer, control=self._control, budget=budget, stores=stores)
        self._book.bound_waiting(engine.window)
        return engine

    def _far_engine(self) -> Engine:
        from agentbatch.engines.ray.engine import Watchers  # late: a run on this machine needs none of it
        from agentbatch.engines.ray.opening import RunTerms, open_ray_engine

        cap = self._config.limits.max_cost
        left = None if cap is None else max(0.0, cap - self._book.spent_in_all_usd)
        terms = RunTerms(self._options.log.lowest_level, self._options.cache, self._artifacts(), left)
        outlets = self._outlets
        watchers = Watchers(self._tally, self._tracer, outlets.traces, outlets.others, self._artifacts())
        self._book.leave_begun_unknown()
        return open_ray_engine(
            self._config, terms, control=self._control, watchers=watchers, journal=self._book.journal
        )

    def _artifacts(self) -> Path | None:
        return None if self._options.files is None else self._options.files.artifacts

    def followed(self) -> AbstractContextManager[None]:
        """Tell whoever follows the run that it begins, or breaks off."""
        return self._outlets.told(self._inputs.name, self._items.total, self._items.before)

    def summary(self, signalled: ExitCode | None) -> Summary:
        """How the run ended. Call it when the book is closed."""
        self._outlets.drain()
        checks = self._check_counts()
        code, verdict = self._verdict(signalled, checks)
        files, traces = self._options.files, self._outlets.traces
        summary = summarize(
            self._tally.counts(),
            verdict=verdict,
            exit_code=int(code),
            started_at=self._started.isoformat().replace("+00:00", "Z"),
            total=self._items.total,
            before=self._book.before,
            written=dict(self._book.written),
            results=None if files is None else str(files.results),
            traces=None if traces is None or traces.path is None else str(traces.path),
            continue_command=self._continue_command(signalled) if self._items.left != 0 else None,
            stop_reason=self._stop_reason(),
            notes=self._notes(),
            checks=checks,
            audit=self._audit(),
            bound_by=self._book.times,
            canary=None if self._canary is None else self._canary.found,
        )
        self._outlets.tell_end(summary)
        return summary

    def _continue_command(self, signalled: ExitCode | None) -> str | None:
        """The same again would only look at the same canary again, where that one ended the run."""
        options = self._options
        if options.files is None or options.terminal is None or self._book.put_back:
            return None
        refused = self._canary is not None and self._canary.refused and signalled is None
        return options.terminal.past_canary_command if refused else options.terminal.continue_command

    def _audit(self) -> Audit | None:
        """What a continued run came to; None where nothing was continued, or nothing was left to do."""
        if not self._book.continued or not self._items.to_do:
            return None
        return Audit(self._items.left, self._book.paid_twice, made_afar=self._config.engine.kind != "local")

    def _to_do(self) -> Iterator[Item]:
        """The items this run has to do. Lines that are no items get their error result in passing."""
        sample: frozenset[int] = frozenset() if self._canary is None else self._canary.sample
        return self._items.take(sample, self._refuse)

    def _refuse(self, bad: BadLine) -> None:
        span = self._tracer.start("item", "item", attributes={"item.id": bad.id, "item.index": bad.index})
        self._tracer.end(span, "error", "input", bad.message)
        self._deliver(bad_line_result(bad, span.trace_id, span.start_ns))

    def _deliver(self, ended: ItemResult | FinishedItem) -> Awaitable[None] | None:
        finished = ended if isinstance(ended, FinishedItem) else self._finished(ended)
        reason = self._failures.add(finished.status)
        self._truncated += finished.truncated
        if self._checks is not None:
            self._checks.add(finished.status, finished.checks)
        waiting = self._book.commit(finished)
        if reason is not None:
            self._control.stop(reason)
        if self._canary is not None:
            self._canary.ended(finished)
        return self._hearer.room() if waiting is None and self._hearer is not None else waiting

    def _settle_held(self) -> None:
        """What failed for the key or the account was about the run when nothing else came, else about its items."""
        denial = self._book.denial()
        if denial is not None:
            self._control.stop(denial)
        elif not self._control.stopping:
            self._book.release_denied()
        self._book.release_alike()

    def _show(self, engine: Engine) -> Progress:
        terminal = self._options.terminal
        if terminal is None or terminal.show is None:
            return Silent()
        total, before = self._items.total, self._items.before
        left = None if total is None else max(0, total - before)
        return terminal.show(Display(self._tally, left, before, engine.pressure))

    def _check_counts(self) -> tuple[CheckCount, ...]:
        """What the checks came to, over the items of earlier runs too: those are counted from their lines."""
        files = self._options.files
        if self._checks is None:
            return ()
        if not self._items.before or files is None:
            return self._checks.counts()
        tally = CheckTally(self._config.checks, self._config.thresholds)
        with CountedLines(files.results) as lines:
            for line in lines:
                tally.add(line["status"], line.get("checks") or {})
        return tally.counts()

    def _verdict(self, signalled: ExitCode | None, checks: Sequence[CheckCount]) -> tuple[ExitCode, Verdict]:
        """The exit code and the word for it: what stopped the run, else what its items came to."""
        if isinstance(self._book.error, OutputError):
            return self._book.error.exit_code, "stopped"
        if signalled is not None:
            return signalled, "interrupted"
        failures = self._failures.failures
        if self._control.stopping and self._items.left != 0:
            return ExitCode.STOPPED, "stopped"
        accepted = self._allowance.accepted(failures, self._items.total or self._items.seen)
        if self._misses or not accepted or not all(check.met for check in checks):
            return ExitCode.FAILED, "failed"
        return ExitCode.OK, "ok"

    @property
    def _misses(self) -> int:
        return self._tape.misses if isinstance(self._tape, Replayer) else 0

    def _stop_reason(self) -> str | None:
        """Why the run ended early; a provider's own words may be in it, and a key in those."""
        reason = str(self._book.error) if self._book.error else self._control.reason
        return None if reason is None else self._redactor.text(reason)

    def _notes(self) -> list[str]:
        notes = [*self._book.notes, *self._of_batches, *self._items.notes()]
        if self._truncated:
            notes.append(
                f"max_tokens cut answers of {counted(self._truncated, 'item')} (`truncated` in the lines): raise it"
            )
        if isinstance(self._tape, Replayer):
            missing = f"; {counted(self._misses, 'call is', 'calls are')} not in it" if self._misses else ""
            notes.append(f"replayed from {self._tape.path}: nothing was asked, and nothing paid{missing}")
        return [*notes, *self._outlets.notes()]


def _refuse_canary(options: RunOptions, inputs: Inputs) -> None:
    """Where a sample can't be paid for first.

    Raises:
        InputError: the inputs come by a pipe.
        ConfigError: the results go where they can't be put in order.
    """
    if inputs.streamed:
        raise InputError(f"{inputs.name}: --canary needs to know all items beforehand; save them to a file first")
    if options.ordered and options.files is None:
        raise ConfigError("--canary with --ordered needs a results file: name one with -o FILE")


def _refuse_afar(config: Config, options: RunOptions) -> None:
    """What a run on other machines can't do yet.

    Raises:
        ConfigError: it is asked to.
    """
    asked = {
        "provider_batch": any(getattr(model, "provider_batch", False) for model in config.models.values()),
        "--record": options.record,
        "--replay": options.replay,
        "--input-format openai-batch": options.input_format == "openai-batch",
        "--output-format": options.output_format != "agentbatch",
    }
    for name, wanted in asked.items():
        if wanted:
            raise ConfigError(f"{name} works in one process: run with the engine `local`")


def _open_tape(options: RunOptions, redactor: Redactor, book: ResultBook) -> Recorder | Replayer | None:
    """What the run is recorded on, or replayed from."""
    if options.replay is not None:
        return Replayer(options.replay, redactor.data)
    if options.record is None:
        return None
    return Recorder(options.record, redactor.data, book.fail, fresh=options.overwrite)
