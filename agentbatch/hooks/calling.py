"""Calls the user's hooks: sync ones in threads, async ones on the loop, what they raise in our words."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from agentbatch.errors import FunctionFault, HookFault, Refused
from agentbatch.hooks import ItemEnd, ModelAnswer, ModelCall, ToolResult, ToolUse
from agentbatch.hooks.config import HooksConfig
from agentbatch.record import record
from agentbatch.step import Visit
from agentbatch.transports.function import THREADS_A_FUNCTION, Function, contained, describe, is_async, load_function
from agentbatch.transports.threads import Raised, Threads

_T = TypeVar("_T")


class Hook(Generic[_T]):
    """The functions of one event, called in their order, each with what the one before left.

    Args:
        event: the key in the config.
        functions: by their names there.
        threads: where sync ones run.
        ignore: a failure changes nothing.
    """

    def __init__(
        self, event: str, functions: Sequence[tuple[str, Function]], threads: Threads, *, ignore: bool = False
    ) -> None:
        self._event = event
        self._functions = tuple(functions)
        self._threads = threads
        self._ignore = ignore
        self._permits = asyncio.Semaphore(THREADS_A_FUNCTION)

    async def call(self, about: _T, visit: Visit) -> _T:
        """What the functions leave of `about`. The time they take is work of the visit.

        Raises:
            Refused: one of them refuses.
            HookFault: one of them failed, and failures are not ignored.
        """
        visit.begin_work()
        try:
            for name, function in self._functions:
                about = await self._one(name, function, about)
        finally:
            visit.end_work()
        return about

    async def _one(self, name: str, function: Function, about: _T) -> _T:
        try:
            came = await self._called(function, about)
            if came is None:
                return about
            if isinstance(came, type(about)):
                return came
            raise FunctionFault(f"returned {type(came).__name__}: expected {type(about).__name__} or None")
        except FunctionFault as fault:
            message = f"hook {self._event} {name}: {fault.message}"
            if not self._ignore:
                raise HookFault(message) from None
            logging.getLogger(__name__).warning("%s (ignored)", message)
            return about

    async def _called(self, function: Function, about: _T) -> Any:
        if is_async(function):
            came = await contained(partial(_awaited, function, about))
        else:
            async with self._permits:
                came = await self._in_thread(function, about)
        if isinstance(came, Refused):
            raise came
        return came

    async def _in_thread(self, function: Function, about: _T) -> Any:
        try:
            came = await self._threads.run(partial(_refusal_returned, function, about))
        except Raised as raised:
            raise FunctionFault(describe(raised.error)) from None
        return await contained(partial(_awaited, lambda _: came, about)) if inspect.isawaitable(came) else came


def _refusal_returned(function: Callable[[Any], Any], about: Any) -> Any:
    """A refusal is an answer: what else is raised is a failure."""
    try:
        return function(about)
    except Refused as refusal:
        return refusal


async def _awaited(function: Callable[[Any], Any], about: Any) -> Any:
    try:
        return await function(about)
    except Refused as refusal:
        return refusal


@record
class Hooks:
    """The hooks of a run; None where the config names no function."""

    before_model: Hook[ModelCall] | None = None
    after_model: Hook[ModelAnswer] | None = None
    before_tool: Hook[ToolUse] | None = None
    after_tool: Hook[ToolResult] | None = None
    on_result: Hook[ItemEnd] | None = None


NO_HOOKS = Hooks()


def build_hooks(config: HooksConfig, folder: Path, threads: Threads) -> Hooks:
    """The hooks that `config` names.

    Raises:
        ConfigError: a function is not there.
    """

    def hook(event: str) -> Hook[Any] | None:
        functions = [(name, load_function(name, folder)) for name in config.names(event)]
        return Hook(event, functions, threads, ignore=config.on_error == "ignore") if functions else None

    return Hooks(hook("before_model"), hook("after_model"), hook("before_tool"), hook("after_tool"), hook("on_result"))
