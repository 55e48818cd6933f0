"""The program: the one place where every error ends, as a message on stderr and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while we are still importing: no traceback

from agentbatch.errors import AgentBatchError, ExitCode
from agentbatch.process import pydantic_plugins

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SIGNALLED = 128
"""Exit codes from here on say that a signal ended the run."""


def main() -> None:
    """Run the command line, and exit with its verdict."""
    gc.set_threshold(200_000)  # what imports make (80,000 objects) stays: looking through it is a tenth of the start
    pydantic_plugins.hold_back()
    _fill_standard_descriptors()
    code = _verdict()
    if code >= _SIGNALLED:
        for number in (signal.SIGINT, signal.SIGTERM):  # more of them must not change the verdict while we leave
            signal.signal(number, signal.SIG_IGN)
    if code == ExitCode.STOPPED and "ray" in sys.modules:
        # a cluster that has lost its head may be why: Ray's threads then crash an interpreter that is taken down
        sys.stderr.flush()
        os._exit(code)
    gc.freeze()  # nor on the way out: that would be half the time that leaving takes
    sys.exit(code)


def _fill_standard_descriptors() -> None:
    """Where stdin, stdout or stderr was closed, let no file or socket of ours get its number.

    Libraries take these three for what they should be: libuv aborts. What is put in their place can't be read and
    can't be written, so results that were to go to stdout don't go nowhere unnoticed; only stderr is let off.
    """
    for fd, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
            os.set_inheritable(fd, True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _verdict() -> int:
    # late: where an import fails, that is reported too
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        from agentbatch.cli.app import app

        app(prog_name="agentbatch")
    except SystemExit as end:
        return _flushed(end.code if isinstance(end.code, int) else ExitCode.FAILED)
    except AgentBatchError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the message is what the user is to read
        return _flushed(error.exit_code)
    except KeyboardInterrupt:
        return ExitCode.SIGINT
    except BrokenPipeError:
        _abandon_stdout()
        return ExitCode.SIGPIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            return _no_room(error)
        _report(error)
        return ExitCode.INTERNAL
    return _flushed(ExitCode.OK)


def _flushed(code: int) -> int:
    """Flush stdout while a failure can still be answered: the interpreter's own flush would print a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
        return ExitCode.SIGPIPE
    except OSError as error:
        _abandon_stdout()
        if code != ExitCode.IO_ERROR:
            print(f"stdout: cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        return ExitCode.IO_ERROR
    return code


def _no_room(error: OSError) -> int:
    """A disk's fault, not ours. What is written to stdout has no name."""
    _abandon_stdout()
    print(f"{error.filename or 'the output'}: cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
    return ExitCode.IO_ERROR


def _abandon_stdout() -> None:
    """Whoever read stdout is gone: let what is still buffered go nowhere, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> None:
    """A bug: what, and where in the code. No values of variables, for a key may be among them."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-5:]
    lines = [f"agentbatch: an error that should not happen: {type(error).__name__}: {_without_keys(str(error)[:500])}"]
    lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    lines.append("Please report it with these lines. What was finished is kept: the same command continues.")
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def _without_keys(text: str) -> str:
    """A foreign error's text without what looks like a key, and without the keys in the environment."""
    from agentbatch.config.problems import KEY_NAME, masked
    from agentbatch.text.redact import Redactor

    return masked(Redactor(value for name, value in os.environ.items() if KEY_NAME.search(name)).text(text))


if __name__ == "__main__":
    main()
