"""The border to the user's Python functions: found by name, called with keyword arguments, failures in our words.

A sync function runs in a thread, an async one on the loop; `executor: process` runs either in a process of its own
(`function_process.py`).
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from agentbatch.errors import ConfigError, FunctionFault
from agentbatch.text.suggestions import did_you_mean
from agentbatch.transports.argument_types import ArgumentTypes
from agentbatch.transports.threads import Raised, Threads

Function = Callable[..., Any]
THREADS_A_FUNCTION = 64


class FunctionCaller(Protocol):
    """Calls one function.

    Raises:
        FunctionFault: it raised, whatever it raised.
    """

    @property
    def at_once(self) -> int | None:
        """Calls at once that make sense where the config says nothing; None for any number."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """The function's result. A cancelled call returns at once."""
        ...


def make_importable(folder: Path) -> None:
    """Let modules beside the config be imported.

    The folder goes to the end of the path: a `random.py` or `email.py` that happens to lie there never takes the
    place of the standard library's, or of an installed package, in this whole process.
    """
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.append(entry)


def load_function(name: str, folder: Path) -> Function:
    """The function `module:name` (or `module:Class.method`), from the config's folder or wherever Python finds it.

    Raises:
        ConfigError: there is none; importing its module failed; or another module of that name is in front.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise ConfigError(f"expected module:function, such as mytools:search, got {name!r}")
    make_importable(folder)
    module = _module(module_name, folder)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            functions = [key for key in dir(found) if callable(getattr(found, key, None)) and not key.startswith("_")]
            raise ConfigError(f"{module_name} has no {path!r}{did_you_mean(part, functions)}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{name} is no function, but {type(found).__name__}")
    return found


def _module(name: str, folder: Path) -> Any:
    importlib.invalidate_caches()  # a module may have been written since the folder was last looked at
    try:
        module = importlib.import_module(name)
    except BaseException as error:  # the border to the user's module, which may raise anything, even SystemExit
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ConfigError(_import_failure(name, error)) from None
    local = folder / Path(*name.split(".")).with_suffix(".py")
    found = getattr(module, "__file__", None)
    if local.is_file() and (found is None or not local.samefile(found)):
        raise ConfigError(
            f"{name} is {found or 'built into Python'}, not {local}: it goes by a name that is taken; rename it"
        )
    return module


def _import_failure(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
        return f"there is no module {error.name!r}, neither beside the config nor installed in {sys.prefix}"
    return f"importing {name} failed: {describe(error)}"


class ThreadCaller:
    """Calls a sync function in a thread, an async one on the loop."""

    def __init__(self, function: Function, threads: Threads) -> None:
        self._function = TypedFunction(function)
        self._threads = threads
        self._is_async = is_async(function)

    @property
    def at_once(self) -> int | None:
        return None if self._is_async else THREADS_A_FUNCTION

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """The function's result."""
        if self._is_async:
            return await contained(partial(self._function.start, arguments))
        try:
            result = await self._threads.run(partial(self._function.call, arguments))
        except Raised as raised:
            raise FunctionFault(describe(raised.error)) from None
        if inspect.isawaitable(result):  # a sync function that hands on a coroutine
            return await contained(lambda: result)
        return result


class TypedFunction:
    """A function that is called with JSON values."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._types = ArgumentTypes(function)

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """The function's result; of a generator, the list of what it yields."""
        result = self._function(**self._types.of(arguments))
        return list(cast("Iterator[Any]", result)) if inspect.isgenerator(result) else result

    async def start(self, arguments: Mapping[str, Any]) -> Any:
        """The result of an async function."""
        return await self._function(**self._types.of(arguments))


def is_async(function: Function) -> bool:
    """Whether calling it gives a coroutine."""
    unwrapped = function.func if isinstance(function, partial) else function
    own_call = getattr(type(unwrapped), "__call__", None)  # noqa: B004  # of an object that can be called
    return inspect.iscoroutinefunction(unwrapped) or inspect.iscoroutinefunction(own_call)


async def contained(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await what the user's code gives: what it raises is its own failure, even what would otherwise end the loop.

    Raises:
        FunctionFault: it raised anything.
    """
    task = asyncio.current_task()
    try:
        return await call()
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        raise FunctionFault("CancelledError: the function cancelled itself") from None
    except BaseException as error:  # the border to the user's code, which may raise anything
        if isinstance(error, GeneratorExit) and _running() is not task:
            raise  # thrown away from outside, not raised by the user's code
        raise FunctionFault(describe(error)) from None


def _running() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def describe(error: BaseException) -> str:
    """`ValueError: no such city (mytools.py:12)`: what was raised, and the last line of the user's in it."""
    words = _words(error)
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _OURS not in Path(frame.filename).parents and "importlib" not in frame.filename]
    return f"{text[:2000]} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else text[:2000]


_OURS = Path(__file__).resolve().parent


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:  # a foreign __str__ may raise anything; it must not cost the message
        return f"[without a text: {type(fault).__name__}]"
