"""reeve: a distributed task queue.

    from reeve import App

    app = App("redis://localhost")

    @app.task
    async def welcome(to: str) -> None: ...

    welcome.enqueue("a@b.c")

Run ``reeve worker module:app`` to work on it.
"""

from __future__ import annotations

import logging as _logging

from reeve._app import App
from reeve._context import Context, current
from reeve._core import __version__
from reeve._durations import Duration
from reeve._errors import (
    AuthError,
    BusyError,
    Cancelled,
    CorruptData,
    EncodeError,
    Error,
    ForkedError,
    InvalidError,
    LeaseLost,
    NetworkError,
    NotDone,
    NotFound,
    OutOfMemory,
    PayloadMismatch,
    ServerError,
    StateError,
    Stopped,
    SystemFailure,
    TaskExists,
    TimeoutError,
    TLSError,
    TooBigError,
    UnsafeServerError,
    UnsupportedError,
    UsageError,
)
from reeve._inspect import QueueInfo, WorkerInfo
from reeve._job import Attempt, Job, JobFailed, JobInfo, State
from reeve._retry import Fatal, Retry, RetryLater, Skip, Snooze
from reeve._task import AsyncTask, BoundTask, Task

# a library is silent until the program configures logging
_logging.getLogger("reeve").addHandler(_logging.NullHandler())

__all__ = [
    "App",
    "AsyncTask",
    "Attempt",
    "AuthError",
    "BoundTask",
    "BusyError",
    "Cancelled",
    "Context",
    "CorruptData",
    "Duration",
    "EncodeError",
    "Error",
    "Fatal",
    "ForkedError",
    "InvalidError",
    "Job",
    "JobFailed",
    "JobInfo",
    "LeaseLost",
    "NetworkError",
    "NotDone",
    "NotFound",
    "OutOfMemory",
    "PayloadMismatch",
    "QueueInfo",
    "Retry",
    "RetryLater",
    "ServerError",
    "Skip",
    "Snooze",
    "State",
    "StateError",
    "Stopped",
    "SystemFailure",
    "TLSError",
    "Task",
    "TaskExists",
    "TimeoutError",
    "TooBigError",
    "UnsafeServerError",
    "UnsupportedError",
    "UsageError",
    "WorkerInfo",
    "__version__",
    "current",
]

# tracebacks name an exception as programs import it
for _value in [globals()[name] for name in __all__]:
    if isinstance(_value, type) and issubclass(_value, BaseException):
        _value.__module__ = __name__
del _value
