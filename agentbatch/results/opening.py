"""Opening a results file that somebody names: where it can't be, one line says why, and what to name instead."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

from agentbatch.errors import InputError
from agentbatch.results.files import files_for

_LOOKED_AT: Final = 4096
_GZIP: Final = b"\x1f\x8b"


def open_results(path: Path) -> BinaryIO:
    """The file, to be read from its beginning.

    Raises:
        InputError: there is none, it can't be read, or it is compressed.
    """
    try:
        file = path.open("rb", buffering=1 << 20)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; {_instead(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; name the results file in it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
    except OSError as error:
        file.close()
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if compressed:
        file.close()
        raise InputError(f"{path}: is compressed; unpack it first: gunzip --keep {path}")
    return file


def refuse_other_than_traces(path: Path) -> None:
    """See that a file that is named as traces is one, before an empty answer is made of it.

    Raises:
        InputError: there is none, it can't be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if start.strip(b"\0 \n") and b"resourceSpans" not in start:
        raise InputError(f"{path}: has no trace of agentbatch in it; name the *.traces.jsonl that a run wrote")


def no_results(path: Path) -> InputError:
    """It can be read, and is none."""
    return InputError(f"{path}: has no result line of agentbatch in it; {_instead(path)}")


def _instead(path: Path) -> str:
    """Who names the inputs means the results that a run writes by default."""
    default = path.with_name(files_for(str(path)).results.name)
    if default.is_file():
        return f"did you mean {default}?"
    return "name the results that `agentbatch run` wrote"
