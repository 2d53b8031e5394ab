"""Runs one handler: decode, call, encode. Workers, the test harness and inline mode share it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from reeve._context import Context, Run, set_current
from reeve._outcome import DONE_NULL, Outcome, failure, result_bytes

if TYPE_CHECKING:
    from reeve._task import AnyTask


class PayloadRun(Run, Protocol):
    """A run that brings its payload."""

    @property
    def payload(self) -> bytes: ...


def run_sync(task: AnyTask, run: PayloadRun) -> Outcome:
    """Calls a plain handler in this thread. Never raises."""
    try:
        args, kwargs = task.arguments.decode(run.payload)
        if task.arguments.wants_context:
            context = Context(run)
            set_current(context)
            value = task.fn(context, *args, **kwargs)
        else:
            set_current(run)
            value = task.fn(*args, **kwargs)
        return DONE_NULL if value is None else result_bytes(task, value)
    except BaseException as error:
        return failure(error, task.retry)


async def run_async(task: AnyTask, run: PayloadRun) -> Outcome:
    """Awaits an ``async def`` handler. Raises CancelledError only when the worker has told it to
    end; when a handler cancels itself or another one, that is a failure, as is its SystemExit."""
    try:
        args, kwargs = task.arguments.decode(run.payload)
        if task.arguments.wants_context:
            context = Context(run)
            set_current(context)
            value = await task.fn(context, *args, **kwargs)
        else:
            set_current(run)
            value = await task.fn(*args, **kwargs)
        return DONE_NULL if value is None else result_bytes(task, value)
    except asyncio.CancelledError as error:
        if run.cancel_reason != 0:
            raise
        return failure(error, task.retry)
    except BaseException as error:
        return failure(error, task.retry)
