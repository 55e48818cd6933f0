"""The Python API: the run of `agentbatch run`, from a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

from agentbatch.batch import run_to_end
from agentbatch.config import Config, load
from agentbatch.config.cache_choice import CacheUse
from agentbatch.errors import AgentBatchError, ConfigError, ExitCode, OutputError, RunStopped
from agentbatch.inputs.formats import InputFormat
from agentbatch.inputs.selection import Selection
from agentbatch.process.control import Control
from agentbatch.results.files import ResultFiles
from agentbatch.results.hearer import Hearer
from agentbatch.results.openai_batch import OutputFormat
from agentbatch.results.result_record import ResultRecord, read_record
from agentbatch.run.options import Confirm, RunOptions
from agentbatch.summary import Summary

_LEFT = "the program left the run"


def run_batch(
    config: Config | str | Path,
    inputs: str | Path | Iterable[Any],
    *,
    output: str | Path | None = None,
    traces: str | Path | None = None,
    otel: bool | None = None,
    events: str | None = None,
    input_format: InputFormat = "auto",
    output_format: OutputFormat = "agentbatch",
    cache: CacheUse = "as configured",
    record: str | Path | None = None,
    replay: str | Path | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    offset: int = 0,
    sample: int | None = None,
    seed: int = 0,
    fail_fast: bool = False,
    ordered: bool = False,
    canary: int | None = None,
    confirm: Confirm | None = None,
) -> Batch:
    """A run, which begins when it is iterated over.

    Args:
        config: the path of a config, or what `load` made of it.
        inputs: a path as on the command line, or the records themselves: mappings, whose `id` names the item, or
            texts. A generator is read in a thread of its own while the run goes.
        output: the results file. What an earlier run with the same config and inputs wrote there is not run again, and
            not yielded. None keeps nothing on disk.
        traces: the trace file; None for none.
        otel: whether spans go to an OpenTelemetry collector; None: if the config or the environment names one.
        events: where the event stream goes; None for nowhere.
        input_format: `jsonl`, `csv`, `auto` (by the name), or `openai-batch`: `{custom_id, method, url, body}` each.
        output_format: `openai-batch`: each line is `{id, custom_id, response, error}`, and more.
        cache: whether the response cache is used: `as configured`, `off`, or `refresh`.
        record: the file that every answer is recorded in; replay: the recording that all answers come from.
        overwrite: begin again, whatever stands in `output`.
        retry_failed: run items again whose line in `output` is an error.
        limit, offset, sample, seed: part of the inputs, as on the command line.
        fail_fast: stop at the first failed item.
        ordered: in the order of the inputs; of `output` once the run ends, of what is yielded only without `output`.
        canary: as `limits.canary`: so many items are run first, and the rest only if what they say of it fits.
        confirm: an async function that decides, given the `Canary`, whether the rest is run; default: unless something
            is against it.

    Raises:
        ConfigError: the config is wrong. What else goes wrong is raised by the iteration.
    """
    loaded = config if isinstance(config, Config) else load(config)
    if canary is not None:
        loaded = _with_canary(loaded, canary)
    options = RunOptions(
        inputs=str(inputs) if isinstance(inputs, str | Path) else inputs,
        files=None if output is None else ResultFiles(Path(output)),
        traces=None if traces is None else Path(traces),
        otel=otel,
        events=events,
        input_format=input_format,
        output_format=output_format,
        cache=cache,
        record=None if record is None else Path(record),
        replay=None if replay is None else Path(replay),
        overwrite=overwrite,
        retry_failed=retry_failed,
        selection=Selection(offset, limit, sample, seed),
        fail_fast=fail_fast,
        ordered=ordered,
        confirm=confirm,
    )
    return Batch(loaded, options)


def _with_canary(config: Config, items: int) -> Config:
    if items < 2:
        raise ConfigError(
            f"a canary needs two items at least, for one says nothing of how much they differ; not {items}"
        )
    return config.model_copy(update={"limits": config.limits.model_copy(update={"canary": items})})


class Batch:
    """One run. Iterate over it once, with `async for` or `for`, for a `ResultRecord` per item as it ends.

    Leaving the loop stops the run: what is in flight is cut, and everything closed; in `async with run:` for sure
    before the next line of the program. In a plain `for` the run has a thread, and an event loop, of its own.

    Raises:
        InputError, OutputError, LockedError: while iterating: the run can't begin, or its results can't be kept.
        RunStopped: after the last record: a limit or a breaker ended the run with items still to do.
    """

    def __init__(self, config: Config, options: RunOptions) -> None:
        self._config = config
        self._options = options
        self._summary: Summary | None = None
        self._results: AsyncGenerator[ResultRecord] | None = None

    @property
    def summary(self) -> Summary:
        """How the run ended.

        Raises:
            AgentBatchError: it has not.
        """
        if self._summary is None:
            raise AgentBatchError("the run has no summary yet: iterate to its end, or await its finish()")
        return self._summary

    async def finish(self) -> Summary:
        """Run to the end without looking at the results. What ended the run early is told by the summary only."""
        self._summary = await run_to_end(self._config, self._options)
        return self._summary

    def __aiter__(self) -> AsyncGenerator[ResultRecord]:
        if self._results is not None:
            raise AgentBatchError("a run can be iterated over once: call run_batch again for another")
        self._results = self._iterate()
        return self._results

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._results is not None:
            await self._results.aclose()

    def __iter__(self) -> Generator[ResultRecord]:
        thread = _LoopThread(self)
        try:
            yield from iter(thread.next, None)
        finally:
            thread.close()

    async def _iterate(self) -> AsyncGenerator[ResultRecord]:
        control, hearer = Control(), Hearer()
        run = asyncio.create_task(run_to_end(self._config, self._options, control, hearer))
        run.add_done_callback(lambda _: hearer.end())
        try:
            while (line := await hearer.next()) is not None:
                yield read_record(line)
            self._summary = await run
            _raise_if_stopped(self._summary)
        finally:
            if not run.done():
                control.stop(_LEFT, at_once=True)
                hearer.end()
                self._summary = await run


def _raise_if_stopped(summary: Summary) -> None:
    if summary.exit_code == ExitCode.IO_ERROR:
        raise OutputError(summary.stop_reason or "the results could not be written")
    if summary.verdict == "stopped":
        raise RunStopped(summary.stop_reason or "the run was stopped")


class _LoopThread:
    """Iterates over a run on an event loop in a thread, one record ahead of the program."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._ready: SimpleQueue[ResultRecord | BaseException | None] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._taken = asyncio.Semaphore(1)
        self._task = self._loop.create_task(self._iterate())
        self._thread = Thread(target=self._work, name="batch run", daemon=True)
        self._thread.start()

    def next(self) -> ResultRecord | None:
        """The next record, None after the last; raises what the iteration raised."""
        came = self._ready.get()
        if isinstance(came, BaseException):
            raise came
        if came is not None:
            with suppress(RuntimeError):  # the loop is closed: it was the last one
                self._loop.call_soon_threadsafe(self._taken.release)
        return came

    def close(self) -> None:
        """Stop what still runs, and wait for its end."""
        with suppress(RuntimeError):  # the loop is closed: it has ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_over())

    async def _until_over(self) -> None:
        await asyncio.wait({self._task})
        error = None if self._task.cancelled() else self._task.exception()
        self._ready.put(error)

    async def _iterate(self) -> None:
        async with aclosing(aiter(self._batch)) as records:
            async for record in records:
                self._ready.put(record)
                await self._taken.acquire()


__all__ = ["Batch", "ResultRecord", "Summary", "run_batch"]
