"""Commands as the config writes them: argument templates, the environment, what exit codes mean."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from agentbatch.errors import CommandFault
from agentbatch.record import record
from agentbatch.settings import Settings, TemplateText
from agentbatch.templates import Template
from agentbatch.transports.command import Command, Ended, clean_environment

_TAIL = 2000
"""Characters of stderr in an error message: its end tells most."""


class CommandFields(Settings):
    """What command tools and command agents have in common."""

    command: Annotated[list[TemplateText], Field(min_length=1)]
    """The program and its arguments, each a template that makes one argument, whatever is in it. A program with a
    slash stands relative to the config, one without is looked for in PATH. No shell reads it."""
    shell: bool = False
    """The first text is a line for `/bin/sh`, which reads the further ones as "$1", "$2", ...; it is no template, for
    text of a model or an input would be executed."""
    stdin: TemplateText | None = None
    """What it reads. Default: nothing."""
    env: dict[str, TemplateText] | list[str] = Field(default_factory=dict[str, TemplateText])
    """What its environment holds beside PATH, HOME, LANG and TMPDIR: names to pass on, or names and values."""
    ok_codes: list[int] = Field(default_factory=lambda: [0])
    """Exit codes that are no failure."""

    @model_validator(mode="after")
    def _shell_line_is_no_template(self) -> Self:
        if self.shell and any(mark in self.command[0] for mark in ("{{", "{%", "{#")):
            raise ValueError(
                'a shell line is no template: text in it would be executed. Write "$1" there, and the template as the '
                "next item of `command`"
            )
        return self

    def command_faults(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Why the command can't be run on this machine."""
        program = self.command[0]
        if self.shell or "{" in program:
            return
        path = clean_environment({}).get("PATH")
        if shutil.which(program_path(program, folder), path=path) is None:
            beside = f" in {folder.resolve()}" if "/" in program else " in PATH"
            yield "command", f"there is no program {program!r}{beside} that can be run"


def program_path(program: str, folder: Path) -> str:
    """A program that is given with a path, from the config's folder."""
    return str(folder.absolute() / program) if "/" in program else program


@record
class CommandLine:
    """A command whose templates are compiled."""

    argv: tuple[Template, ...]
    stdin: Template | None
    env: Mapping[str, Template]
    ok_codes: frozenset[int]
    folder: Path
    shell: bool = False
    passed_on: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, config: CommandFields, where: str, folder: Path) -> CommandLine:
        """The command of a config section; `where` is that section's name in messages."""
        named = {} if isinstance(config.env, list) else config.env
        return cls(
            argv=tuple(Template(text, where=f"{where}.command[{n}]") for n, text in enumerate(config.command)),
            stdin=None if config.stdin is None else Template(config.stdin, where=f"{where}.stdin"),
            env={name: Template(text, where=f"{where}.env.{name}") for name, text in named.items()},
            ok_codes=frozenset(config.ok_codes),
            folder=folder,
            shell=config.shell,
            passed_on={name: os.environ[name] for name in config.env if name in os.environ and name not in named},
        )

    def render(self, names: Mapping[str, Any], cwd: Path | None) -> Command:
        """The command for one item.

        Raises:
            TemplateFault: a template can't be filled in.
            CommandFault: an argument or a variable holds a NUL, which no program can be given.
        """
        argv = [template.render(names) for template in self.argv]
        env = {**self.passed_on, **{name: template.render(names) for name, template in self.env.items()}}
        if any("\0" in text for text in (*argv, *env.values())):
            raise CommandFault("an argument holds a NUL character: no program can be given one")
        if self.shell:
            argv = ["/bin/sh", "-c", argv[0], "sh", *argv[1:]]
        else:
            argv[0] = program_path(argv[0], self.folder)
        stdin = b"" if self.stdin is None else self.stdin.render(names).encode("utf-8", "replace")
        return Command(argv, clean_environment(env), cwd, stdin)

    def check(self, ended: Ended) -> None:
        """See that it ended well.

        Raises:
            CommandFault: its exit code is not among `ok_codes`; the message has the end of what it said.
        """
        if ended.code not in self.ok_codes:
            said = (ended.stderr.text.strip() or ended.stdout.text.strip())[-_TAIL:]
            raise CommandFault(f"{_how(ended.code)}: {said}" if said else _how(ended.code))


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
