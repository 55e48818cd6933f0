"""The agent `command`: a program does the work, such as a coding agent's CLI."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field

from agentbatch.agents.base import AgentConfig
from agentbatch.agents.usage import UsagePaths, cost_of, count_usage
from agentbatch.assembly import Assembly
from agentbatch.calls.command_line import CommandFields, CommandLine
from agentbatch.calls.output_form import read_output
from agentbatch.errors import CommandFault, ConfigError
from agentbatch.files.folders import Folder, Outside
from agentbatch.files.plain_json import to_plain
from agentbatch.items import Item, Output, Scope
from agentbatch.kept.journal import Journal
from agentbatch.kept.paid_work import Bill, PaidWork
from agentbatch.kept.tape import Tape
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.record import record
from agentbatch.results.artifacts import ArtifactFolder
from agentbatch.settings import Duration, PositiveInt, TemplateText, TemplateValue
from agentbatch.step import Visit
from agentbatch.templates import Template
from agentbatch.templates.tree import TemplateTree
from agentbatch.tools.command import text_of
from agentbatch.transports.command import Command, run_command
from agentbatch.transports.process_tree import end_orphans
from agentbatch.transports.threads import Raised, Threads

_MAX_OUTPUT = 10_000_000


def _checked(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if not pattern or pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
            raise ValueError(f"{pattern!r}: expected a pattern inside the working folder, such as out/**/*.py")
    return patterns


class CommandConfig(CommandFields, AgentConfig):
    """A program as an agent. It runs in a folder of its own, and its output is what it writes to stdout."""

    kind: Literal["command"]
    timeout: Duration | None = 600.0
    """How long it may work on one item; then it is killed with everything it started."""
    workdir: TemplateText = "temp"
    """Where it runs: `temp`, an empty folder that is deleted afterwards, or a path relative to the config. What
    templates fill in can't lead out of the part of the path before them."""
    files: TemplateValue = None
    """Files to write into that folder before: names and texts, or one `{{ expression }}` that gives such a mapping."""
    artifacts: Annotated[list[str], AfterValidator(_checked)] = Field(default_factory=list[str])
    """Patterns of files to keep afterwards, such as `out/**/*.py`: copied to a folder beside the results."""
    output: str = "text"
    """What of stdout is its output: `text`, `json`, `jsonl` (a list), or a dotted path into the JSON, as `result`."""
    usage: UsagePaths | None = None
    """Where its JSON says what it used, whatever `output` takes of it."""
    max_output: PositiveInt = _MAX_OUTPUT
    """Bytes of stdout that are kept. Text beyond is cut; JSON must be whole."""

    def faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What is wrong with it on this machine."""
        yield from self.command_faults(folder)


@record
class Workplace:
    """Where a command runs, what is put there before, and what is kept of it afterwards."""

    workdir: Template | None
    folder: Path
    base: Path
    files: TemplateTree | None
    artifacts: tuple[str, ...]
    kept_in: ArtifactFolder | None
    threads: Threads

    @asynccontextmanager
    async def open(self, scope: Scope) -> AsyncGenerator[Path]:
        """The folder, with its files.

        Raises:
            CommandFault: there is no such folder, or a file can't be put there.
        """
        files = None if self.files is None else self.files.of(scope.names)
        if self.workdir is not None:
            folder = self._inside(self.workdir.render(scope.names))
            await self._put(files, folder)
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="agentbatch-", ignore_cleanup_errors=True) as name:
            await self._put(files, Path(name))
            yield Path(name)

    async def keep(self, folder: Path, item: Item, step: str) -> list[str]:
        """Copy the artifacts; their paths.

        Raises:
            CommandFault: they can't be kept.
        """
        if not self.artifacts or self.kept_in is None:
            return []
        kept_in, patterns = self.kept_in, list(self.artifacts)
        return await self._in_thread(lambda: kept_in.keep(patterns, folder, str(item.id), step))

    def _inside(self, text: str) -> Path:
        folder = (self.folder / text).resolve() if "\0" not in text else Path()
        if "\0" in text or not folder.is_relative_to(self.base.resolve()):
            raise CommandFault(f"workdir: {text!r} leads out of {self.base}")
        if not folder.is_dir():
            raise CommandFault(f"workdir: there is no folder {folder}")
        return folder

    async def _put(self, files: Any, folder: Path) -> None:
        if files is None:
            return
        if not isinstance(files, dict):
            raise CommandFault(f"files: expected names and texts, got {type(files).__name__}")
        named = cast("dict[str, Any]", files)
        await self._in_thread(lambda: _write(named, Folder(folder)))

    async def _in_thread(self, work: Any) -> Any:
        try:
            return await self.threads.run(work)
        except Raised as raised:
            raise raised.error from None


def _write(files: dict[str, Any], folder: Folder) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else _as_json(content)
        try:
            folder.write(name, text.encode("utf-8", "replace"))
        except (Outside, OSError) as error:
            raise CommandFault(f"files: {error}") from None


def _as_json(content: Any) -> str:
    """What a file holds whose content is no text: its JSON."""
    import orjson  # late: hardly any config needs it

    return orjson.dumps(to_plain(content), option=orjson.OPT_INDENT_2).decode()


@record
class CommandAgent:
    """Runs a command once for each item."""

    line: CommandLine
    place: Workplace
    output: str
    usage: UsagePaths | None
    max_output: int
    control: Control
    budget: Budget
    journal: Journal | None = None
    tape: Tape | None = None
    kind: str = "command"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run the command; what it wrote is the output.

        Raises:
            CommandFault: it could not be started, failed, or did not write what the config says.
            TemplateFault, ConditionFault: a template can't be filled in.
        """
        command = self.line.render(scope.names, None)
        asked = [list(command.argv), command.stdin]
        bill = Bill(self.budget, lambda ran: cost_of(self.usage, ran["stdout"]))
        work = PaidWork(self.journal, visit, asked, self.tape, bill)
        known = work.recalled()
        if known is not None:
            return self._conclude(known[0], visit)
        self.control.check()
        async with self.budget.reserved(0.0):  # no further one when the cap is reached
            return self._conclude(await work.done(lambda: self._ran(command, scope, visit)), visit)

    async def _ran(self, command: Command, scope: Scope, visit: Visit) -> dict[str, Any]:
        """What is worth keeping of one run: stdout, how much of it is missing, and the artifacts."""
        visit.begin_work()
        try:
            async with self.place.open(scope) as folder:
                ended = await run_command(replace(command, cwd=folder), max_stdout=self.max_output)
                visit.span.attributes["exit_code"] = ended.code
                kept = await self.place.keep(folder, visit.item, visit.path)
                self.line.check(ended)
                text = text_of(ended) if self.output == "text" else ended.stdout.text
                return {"stdout": text, "missing": ended.stdout.missing, "artifacts": kept}
        finally:
            visit.end_work()

    def _conclude(self, ran: dict[str, Any], visit: Visit) -> Output:
        if ran["artifacts"]:
            visit.extra["artifacts"] = ran["artifacts"]
        if self.usage is not None:
            count_usage(self.usage, ran["stdout"], visit)
        if ran["missing"]:
            visit.extra["truncated"] = True
            if self.output != "text":
                raise CommandFault(f"its output is longer than max_output ({self.max_output:,} bytes)")
        try:
            return Output(read_output(self.output, ran["stdout"]))
        except ValueError as error:
            raise CommandFault(f"its output: {error}") from None


def build(config: CommandConfig, name: str, assembly: Assembly) -> CommandAgent:
    """The agent that `config` describes.

    Raises:
        ConfigError: artifacts are to be kept, and there is no file of results to keep them beside.
    """
    if config.artifacts and assembly.artifacts is None:
        raise ConfigError(f"agents.{name}.artifacts: with results on stdout there is no place for them: give -o a file")
    where = f"agents.{name}"
    end_orphans()
    return CommandAgent(
        line=CommandLine.of(config, where, assembly.folder),
        place=_workplace(config, where, assembly),
        output=config.output,
        usage=config.usage,
        max_output=config.max_output,
        control=assembly.control,
        budget=assembly.budget,
        journal=assembly.journal,
        tape=assembly.tape,
    )


def _workplace(config: CommandConfig, where: str, assembly: Assembly) -> Workplace:
    return Workplace(
        workdir=None if config.workdir == "temp" else Template(config.workdir, where=f"{where}.workdir"),
        folder=assembly.folder,
        base=assembly.folder / fixed_part(config.workdir),
        files=None if config.files is None else TemplateTree(config.files, where=f"{where}.files"),
        artifacts=tuple(config.artifacts),
        kept_in=assembly.artifacts,
        threads=assembly.threads,
    )


def fixed_part(path: str) -> str:
    """The folders in a path's template that stand before everything that is filled in."""
    fixed, braces, _ = path.partition("{")
    return fixed if not braces else fixed[: fixed.rfind("/") + 1]
