"""Programs that a model wrote, run where they can do no harm: by bubblewrap, in namespaces of their own.

No network, no processes but their own, a `/tmp` of their own that goes with them, of the file system only what programs
need and that read-only, no environment, bounds on memory, time, files and processes.
Source: https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from agentbatch.errors import CommandFault
from agentbatch.record import record
from agentbatch.transports.command import Command, Ended, clean_environment, run_command

_PROBE_S = 10.0
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
_READ_ONLY = ("/usr", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
_OF_USR = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links into /usr on most systems, folders of their own on others."""

_LIMITED = (
    'ulimit -c 0; ulimit -v "$1"; ulimit -t "$2"; ulimit -f "$3"; ulimit -n 256; '
    '[ "$4" = 0 ] || ulimit -u "$4" 2>/dev/null || ulimit -p "$4" 2>/dev/null; shift 4; exec "$@"'
)
"""`-u` is bash's word for the number of processes, `-p` is dash's; 0 leaves it alone."""

_PROCESSES = 512
"""In the sandbox. Outside of it the system counts all of the user's, so that no number is right."""


@record
class Bounds:
    """What a program in the sandbox may use: address space and files in MB, processor time in seconds."""

    memory_mb: int = 1024
    cpu_s: int = 60
    files_mb: int = 100


async def run_sandboxed(argv: Sequence[str], stdin: bytes, bounds: Bounds, max_bytes: int, *, unsafe: bool) -> Ended:
    """Run a program in the sandbox; with `unsafe` only in an empty folder, with a clean environment and the bounds.

    Raises:
        CommandFault: it could not be started, or the sandbox could not be made.
    """
    processes = "0" if unsafe else str(_PROCESSES)
    limited = ["/bin/sh", "-c", _LIMITED, "sh", *_figures(bounds), processes, *argv]
    if unsafe:
        with tempfile.TemporaryDirectory(prefix="agentbatch-", ignore_cleanup_errors=True) as folder:
            env = {**clean_environment({}), "HOME": folder, "TMPDIR": folder}
            return await run_command(Command(limited, env, Path(folder), stdin), max_stdout=max_bytes)
    wrapped = [*sandbox_arguments(bounds), "--", *limited]
    ended = await run_command(Command(wrapped, clean_environment({}), Path("/"), stdin), max_stdout=max_bytes)
    if ended.code == 1 and ended.stderr.data.startswith(b"bwrap: "):
        raise CommandFault(f"the sandbox could not be made: {ended.stderr.text.strip()[:500]}")
    return ended


@lru_cache(maxsize=1)
def sandbox_problem() -> str | None:
    """Why there is no sandbox on this machine; None where it works. It is tried once."""
    if not sys.platform.startswith("linux"):
        return "the sandbox (bubblewrap) works on Linux only"
    if shutil.which("bwrap") is None:
        return "there is no bwrap (bubblewrap) in PATH: install it, such as with `apt install bubblewrap`"
    try:
        done = subprocess.run(
            [*sandbox_arguments(Bounds()), "--", "/bin/sh", "-c", "exit 0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap (bubblewrap) does not work here: {error}"
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        return f"bwrap (bubblewrap) does not work here: {said[:500] or f'exit code {done.returncode}'}"
    return None


def sandbox_arguments(bounds: Bounds) -> list[str]:
    """bwrap and its options; the program follows after `--`."""
    arguments = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--die-with-parent"]
    arguments += ["--new-session", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--clearenv"]
    for name, value in _ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    for path in (*_READ_ONLY, *_python_folders()):
        arguments += ["--ro-bind-try", path, path]
    for path in _OF_USR:
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        else:
            arguments += ["--ro-bind-try", path, path]
    size = str(bounds.files_mb * 1024 * 1024)
    arguments += ["--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/tmp"]
    # the root itself and /dev are in memory, too, and have no size of their own
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


def _python_folders() -> list[str]:
    """Where this Python is installed, unless /usr has it anyway."""
    folders = {str(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)} | {sys.prefix, sys.base_prefix}
    return sorted(folder for folder in folders if not Path(folder).is_relative_to("/usr"))


def _figures(bounds: Bounds) -> list[str]:
    """Address space in KB, processor time in seconds, size of a file in blocks of 512 bytes."""
    return [str(bounds.memory_mb * 1024), str(bounds.cpu_s), str(bounds.files_mb * 2048)]
