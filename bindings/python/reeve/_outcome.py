"""From what a handler returned or raised to what the core is told."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from reeve import _codec, _core
from reeve._errors import CorruptData, EncodeError, PayloadMismatch
from reeve._retry import Fatal, Retry, RetryLater, Skip, Snooze

if TYPE_CHECKING:
    from reeve._task import AnyTask

#: kind, result, delay_ms, error type, message, traceback
FullOutcome: TypeAlias = tuple[int, bytes | None, int, bytes | None, bytes | None, bytes | None]
#: or what a handler that is done returned
Outcome: TypeAlias = bytes | FullOutcome

#: A task that returns nothing still has a result to read.
DONE_NULL: Outcome = b"null"
REQUEUE: FullOutcome = (_core.OUTCOME_REQUEUE, None, 0, None, None, None)

#: The core keeps this much of a traceback; its end is what tells most.
_TRACE_BYTES = 8 * 1024
_PACKAGE = "reeve._runner"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def class_name(cls: type) -> str:
    """``ValueError``, ``package.module.Problem``."""
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    if cls.__module__.startswith("reeve._"):
        return f"reeve.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the runner's frames at its start."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__") == _PACKAGE:
        trace = trace.tb_next
    return trace


def _trace(error: BaseException) -> bytes:
    lines = traceback.format_exception(type(error), error, _own_frames(error.__traceback__))
    text = _bytes("".join(lines))
    if len(text) > _TRACE_BYTES:
        text = b"...\n" + text[-_TRACE_BYTES + 4 :]
        # not to start inside a character
        text = text.decode("utf-8", "ignore").encode()
    return text


def _message(error: BaseException) -> bytes:
    try:
        return _bytes(str(error))
    except Exception as why:
        return _bytes(f"<its message raised {type(why).__name__}>")


def failure(error: BaseException, policy: Retry | None) -> FullOutcome:
    """Outcome of a handler that raised. Never raises, whatever the error's class does: that would
    cost the worker a thread."""
    try:
        return _failure(error, policy)
    except BaseException:
        return retry("Exception", "<an exception that cannot be described>")


def _failure(error: BaseException, policy: Retry | None) -> FullOutcome:
    if isinstance(error, Snooze):
        return (_core.OUTCOME_SNOOZE, None, error.delay_ms, None, None, None)
    if isinstance(error, Skip):
        return (_core.OUTCOME_DISCARD, None, 0, None, None, None)
    delay_ms = 0
    kind = _core.OUTCOME_RETRY
    if isinstance(error, RetryLater):
        delay_ms = error.delay_ms
    elif isinstance(error, (Fatal, PayloadMismatch, CorruptData)) or (
        policy is not None and not policy.allows(error)
    ):
        kind = _core.OUTCOME_FATAL
    name = _bytes(class_name(type(error)))
    return (kind, None, delay_ms, name, _message(error), _trace(error))


def fatal(name: str, message: str) -> FullOutcome:
    """A failure without an exception that must not be retried."""
    return (_core.OUTCOME_FATAL, None, 0, _bytes(name), _bytes(message), None)


def retry(name: str, message: str) -> FullOutcome:
    """A failure without an exception."""
    return (_core.OUTCOME_RETRY, None, 0, _bytes(name), _bytes(message), None)


def unknown_task(name: str) -> FullOutcome:
    """No handler here. Another worker, or the next deployment, may have one: it is retried."""
    return retry("UnknownTask", f"this worker has no task {name!r}")


def result_bytes(task: AnyTask, value: object) -> bytes:
    """JSON of a handler's return value. Raises Fatal: running again would not help."""
    try:
        data = _codec.dumps(value)
    except EncodeError as error:
        raise Fatal(f"the result of {task.name} cannot be stored: {error}") from None
    if len(data) > _core.PAYLOAD_BYTES_MAX:
        raise Fatal(
            f"the result of {task.name} has {len(data)} bytes; at most {_core.PAYLOAD_BYTES_MAX}"
        )
    return data
