"""What a handler can know about the run it is in."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol

from reeve._errors import StateError

_logger = logging.getLogger("reeve.task")


class Run(Protocol):
    """What a Context reads: a delivery of the core, or a local call."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def crashes(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def enqueued_at_ms(self) -> int: ...
    @property
    def deadline_at_ms(self) -> int: ...
    @property
    def cancel_reason(self) -> int: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...


_LAST_MS = 253_402_300_799_000  # the year 9999 in whole seconds, so that no rounding exceeds it


def from_ms(at_ms: int) -> datetime:
    """An aware datetime in UTC; at most the last one there is, whatever others have stored."""
    return datetime.fromtimestamp(min(at_ms, _LAST_MS) / 1000, UTC)


class Context:
    """The current run. Give a task's first parameter this annotation to receive it."""

    __slots__ = ("_run", "headers")

    #: Headers that were set at enqueue.
    headers: dict[str, str]

    def __init__(self, run: Run) -> None:
        self._run = run
        self.headers = dict(run.headers)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._run.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._run.type

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._run.queue

    @property
    def attempt(self) -> int:
        """1 for the first run."""
        return self._run.attempt

    @property
    def max_attempts(self) -> int | None:
        """Runs in all; None = no limit."""
        limit = self._run.max_attempts
        return None if limit < 0 else limit

    @property
    def crashes(self) -> int:
        """Workers that died while they ran this job."""
        return self._run.crashes

    @property
    def priority(self) -> int:
        """0 … 9, higher runs first."""
        return self._run.priority

    @property
    def token(self) -> int:
        """Fencing token: grows with every claim in a queue. Pass it to systems that can refuse an
        older one."""
        return self._run.token

    @property
    def enqueued_at(self) -> datetime:
        """When it was enqueued, UTC."""
        return from_ms(self._run.enqueued_at_ms)

    @property
    def deadline(self) -> datetime | None:
        """After this it is not run any more, UTC."""
        at_ms = self._run.deadline_at_ms
        return from_ms(at_ms) if at_ms > 0 else None

    @property
    def cancelled(self) -> bool:
        """True when the run should end: timeout, deadline, lost lease, or the worker stops.
        Handlers in threads look at it; ``async`` ones are cancelled by asyncio."""
        return self._run.cancel_reason != 0

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logger ``reeve.task.<name>`` whose records carry job_id, task, queue and attempt."""
        run = self._run
        return logging.LoggerAdapter(
            _logger.getChild(run.type),
            {
                "job_id": run.id,
                "task": run.type,
                "queue": run.queue,
                "attempt": run.attempt,
            },
        )

    def __repr__(self) -> str:
        run = self._run
        return f"<Context {run.type} id={run.id} attempt={run.attempt}>"


#: The run of the present thread or asyncio task; a Context only once someone asked for it.
_current: ContextVar[Run | Context] = ContextVar("reeve.current")


def set_current(run: Run | Context) -> None:
    """For workers: this thread or asyncio task now runs this."""
    _current.set(run)


def find_current() -> Context | None:
    """The context of the running task, or None outside of one."""
    run = _current.get(None)
    if run is not None and not isinstance(run, Context):
        run = Context(run)
        _current.set(run)
    return run


def current() -> Context:
    """The context of the running task; for code that cannot take it as a parameter.

    Raises StateError outside of a task.
    """
    context = find_current()
    if context is None:
        raise StateError("no task is running here")
    return context


class LocalRun:
    """Stands in for a delivery when a task is called as a plain function."""

    __slots__ = ("id", "queue", "type")

    attempt = 1
    max_attempts = 1
    crashes = 0
    priority = 5
    token = 0
    enqueued_at_ms = 0
    deadline_at_ms = 0
    cancel_reason = 0

    def __init__(self, type: str, queue: str) -> None:
        self.id = "local"
        self.type = type
        self.queue = queue

    @property
    def headers(self) -> list[tuple[str, str]]:
        """None: nothing was enqueued."""
        return []
